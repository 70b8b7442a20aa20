import type { ReactNode } from "react";
import { PageHead } from "@/design/Layout";

export const LoginPage = (): ReactNode => <PageHead title="Sign in" />;
export const SignupPage = (): ReactNode => <PageHead title="Sign up" />;
