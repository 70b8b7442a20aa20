/** Somebody else is here than a moment ago. */

import { useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { forget } from "@/api/me";

export const HOME = "/offers";

/** Forget what belonged to who was here before, and go to where one wanted to go. */
export function useArrive(next: string | undefined): () => Promise<void> {
  const client = useQueryClient();
  const navigate = useNavigate();
  return async () => {
    await forget(client);
    await navigate({ href: next ?? HOME, replace: true });
  };
}
