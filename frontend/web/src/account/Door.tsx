/** The frame of the pages at which nobody is signed in yet: one calm card, and a line on where one is. */

import { Link } from "@tanstack/react-router";
import { useEffect, useRef, type ReactNode } from "react";
import { useTitle } from "@/design/title";

interface DoorProps {
  title: string;
  about?: ReactNode;
  /** What else one may want: another page. */
  foot?: ReactNode;
  children?: ReactNode;
}

export function Door({ title, about, foot, children }: DoorProps): ReactNode {
  useTitle(title);
  return (
    <div className="mx-auto my-auto w-full max-w-sm py-6">
      <p className="mb-4 text-sm text-soft">
        GPUYard finds the cheapest way to finish a training run, across data centres.
      </p>
      <section className="rounded-lg border border-line bg-card px-5 py-5">
        <Title key={title}>{title}</Title>
        {about && <div className="mt-1 text-sm text-soft">{about}</div>}
        {children && <div className="mt-4">{children}</div>}
      </section>
      {foot && <div className="mt-4 flex flex-wrap justify-between gap-x-4 gap-y-1 text-sm">{foot}</div>}
    </div>
  );
}

/** The next step begins at its title, so that it is read aloud; unless one of its fields has the cursor. */
function Title({ children }: { children: string }): ReactNode {
  const ref = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (!document.activeElement || document.activeElement === document.body) ref.current?.focus();
  }, []);
  return (
    <h1 ref={ref} tabIndex={-1} className="text-lg outline-none">
      {children}
    </h1>
  );
}

/** A link in the door's foot: as tall as a finger needs. */
export function FootLink({
  to,
  search,
  children,
}: {
  to: "/account/login" | "/account/signup" | "/account/password/reset";
  search?: { next?: string; email?: string };
  children: ReactNode;
}): ReactNode {
  return (
    <Link to={to} search={search ?? {}} className="inline-flex min-h-6 items-center">
      {children}
    </Link>
  );
}
