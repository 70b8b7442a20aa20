/** What is around every page: where one can go, whose things are shown, what credit is left. */

import { useQuery } from "@tanstack/react-query";
import { Link, Outlet, useRouterState } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { me, type Me } from "@/api/me";
import { buttonClass, IconButton } from "@/design/Button";
import { usd } from "@/design/format";
import { Icon, type IconName } from "@/design/icons";
import { later, Pressable } from "@/design/later";
import { useTitle } from "@/design/title";
import type { AccountMenuProps } from "./AccountMenu";
import { Arrival } from "./Arrival";
import { Toasts } from "./toasts";

const PAGES = [
  { to: "/offers", label: "Offers", icon: "offers" },
  { to: "/launch", label: "Launch", icon: "launch" },
  { to: "/workloads", label: "Workloads", icon: "runs" },
  { to: "/hosts", label: "Hosts", icon: "hosts" },
] as const satisfies readonly { to: string; label: string; icon: IconName }[];

export function Shell(): ReactNode {
  const who = useQuery(me);
  return (
    <div className="flex min-h-dvh flex-col md:flex-row">
      <a
        href="#main"
        className="sr-only z-50 rounded-md bg-accent p-2 text-on-accent focus:not-sr-only focus:fixed focus:top-2 focus:left-2"
      >
        Skip to the page
      </a>
      <nav
        aria-label="Pages"
        className="sticky top-0 z-30 flex items-center gap-1 border-b border-line bg-card px-3 py-1.5 md:h-dvh md:w-48 md:shrink-0 md:flex-col md:items-stretch md:border-r md:border-b-0 md:px-3 md:py-4"
      >
        <Link
          to="/offers"
          className="mr-1 flex items-center gap-2 px-1 text-base font-semibold text-ink no-underline md:mb-4"
        >
          <img src="/icon.svg" alt="" width="22" height="22" />
          <span className="max-sm:sr-only">GPUYard</span>
        </Link>
        {PAGES.map((page) => (
          <Link
            key={page.to}
            to={page.to}
            preload="intent"
            activeProps={{ "aria-current": "page" }}
            className="flex min-h-9 items-center gap-2.5 rounded-md px-2 text-sm font-medium text-soft no-underline hover:bg-hover hover:text-ink aria-[current=page]:bg-accent-wash aria-[current=page]:text-accent-strong"
          >
            <Icon name={page.icon} /> <span className="max-sm:sr-only">{page.label}</span>
          </Link>
        ))}
        <div className="ml-auto md:mt-auto md:ml-0">
          {who.data ? <Person person={who.data} /> : who.isPending ? null : <SignIn />}
        </div>
      </nav>
      <main id="main" tabIndex={-1} className="flex min-w-0 grow flex-col px-4 py-4 outline-none md:px-6 md:py-5">
        <Outlet />
      </main>
      <Arrival />
      <Toasts />
    </div>
  );
}

function SignIn(): ReactNode {
  const here = useRouterState({ select: (state) => state.location.href });
  return (
    <Link to="/account/login" search={{ next: here }} className={`${buttonClass("primary", "sm")} no-underline`}>
      Sign in
    </Link>
  );
}

const { Drawn: AccountMenu, fetch } = later<AccountMenuProps>(() => import("./AccountMenu"));

function Person({ person }: { person: Me }): ReactNode {
  const trigger = (
    <button
      type="button"
      className="flex min-h-9 min-w-0 items-center gap-2 rounded-md px-2 text-left text-sm hover:bg-hover"
    >
      <Icon name="account" />
      <span className="sr-only">Account: </span>
      <span className="min-w-0 max-md:sr-only">
        <span className="block truncate font-medium">{person.username}</span>
        <span className="block truncate text-xs text-soft">{person.team.name}</span>
      </span>
    </button>
  );
  return (
    <div className="flex items-center gap-1 md:flex-col md:items-stretch">
      <div className="px-2 text-right md:mb-2 md:text-left">
        <div className="label-caps max-sm:sr-only">Credit left</div>
        <div className="text-sm font-semibold tabular-nums">
          {usd(person.available_usd)} <span className="text-xs font-normal text-soft">USD</span>
        </div>
      </div>
      <Pressable trigger={trigger} popup="menu" fetch={fetch}>
        {(pressed) => <AccountMenu person={person} trigger={trigger} pressed={pressed} />}
      </Pressable>
    </div>
  );
}

/** A page that failed; the way around it stays. */
export function PageFault({ error, reset }: { error: unknown; reset: () => void }): ReactNode {
  useTitle("This page failed");
  return (
    <div role="alert" className="mx-auto mt-16 max-w-md text-center">
      <Icon name="wrong" size={24} className="mx-auto mb-2 text-bad" />
      <h1 className="text-lg">This page failed</h1>
      <p className="mb-3 text-sm text-soft">{error instanceof Error ? error.message : "Nobody knows why."}</p>
      <IconButton label="Try again" icon="play" size="md" onClick={reset} />
    </div>
  );
}
