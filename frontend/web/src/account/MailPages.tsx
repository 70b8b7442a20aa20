import type { ReactNode } from "react";
import { PageHead } from "@/design/Layout";

export const VerifyPage = (): ReactNode => <PageHead title="Confirm your e-mail" />;
export const ForgottenPage = (): ReactNode => <PageHead title="Forgotten password" />;
export const ResetPage = (): ReactNode => <PageHead title="A new password" />;
export const InvitationPage = (): ReactNode => <PageHead title="Invitation" />;
