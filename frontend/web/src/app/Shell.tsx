/** What is around every page: where one can go, whose things are shown, what credit is left. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, Outlet, useNavigate, useRouterState } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { signOut } from "@/api/auth";
import { chooseTeam } from "@/api/client";
import { forget, me, type Me } from "@/api/me";
import { leftByChoice } from "@/api/session";
import { buttonClass, IconButton } from "@/design/Button";
import { usd, words } from "@/design/format";
import { Icon, type IconName } from "@/design/icons";
import { DropdownMenu, Menu, MENU_ITEM, MenuItem } from "@/design/Panel";
import { useTitle } from "@/design/title";
import { Arrival } from "./Arrival";
import { chooseTheme, useTheme, type Theme } from "./theme";
import { complain, Toasts } from "./toasts";

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

function Person({ person }: { person: Me }): ReactNode {
  const client = useQueryClient();
  const navigate = useNavigate();
  const theme = useTheme();

  async function look(team: number) {
    chooseTeam(team);
    await forget(client);
  }

  async function leave() {
    try {
      await signOut();
      leftByChoice();
      chooseTeam(null);
      await forget(client);
      await navigate({ to: "/account/login" });
    } catch (error) {
      complain(error);
    }
  }

  return (
    <div className="flex items-center gap-1 md:flex-col md:items-stretch">
      <div className="px-2 text-right md:mb-2 md:text-left">
        <div className="label-caps max-sm:sr-only">Credit left</div>
        <div className="text-sm font-semibold tabular-nums">
          {usd(person.available_usd)} <span className="text-xs font-normal text-soft">USD</span>
        </div>
      </div>
      <Menu
        align="start"
        trigger={
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
        }
      >
        {person.teams.length > 1 && (
          <>
            <DropdownMenu.Label className="label-caps px-2 py-1">Team</DropdownMenu.Label>
            <DropdownMenu.RadioGroup value={String(person.team.id)} onValueChange={(id) => void look(Number(id))}>
              {person.teams.map((team) => (
                <Choice key={team.id} value={String(team.id)}>
                  {team.name} <span className="text-soft">{words(team.role)}</span>
                </Choice>
              ))}
            </DropdownMenu.RadioGroup>
            <Rule />
          </>
        )}
        <DropdownMenu.Label className="label-caps px-2 py-1">Theme</DropdownMenu.Label>
        <DropdownMenu.RadioGroup value={theme} onValueChange={(value) => chooseTheme(value as Theme)}>
          {(["system", "light", "dark"] as const).map((one) => (
            <Choice key={one} value={one}>
              {words(one)}
            </Choice>
          ))}
        </DropdownMenu.RadioGroup>
        <Rule />
        <DropdownMenu.Item asChild>
          <Link to="/account" className={MENU_ITEM}>
            <Icon name="key" /> Account, keys and team
          </Link>
        </DropdownMenu.Item>
        <MenuItem onSelect={() => void leave()}>
          <Icon name="out" /> Sign out
        </MenuItem>
      </Menu>
    </div>
  );
}

function Choice({ value, children }: { value: string; children: ReactNode }): ReactNode {
  return (
    <DropdownMenu.RadioItem value={value} className={`${MENU_ITEM} pl-7 [&[data-state=checked]]:pl-2`}>
      <DropdownMenu.ItemIndicator>
        <Icon name="check" size={14} />
      </DropdownMenu.ItemIndicator>
      {children}
    </DropdownMenu.RadioItem>
  );
}

function Rule(): ReactNode {
  return <DropdownMenu.Separator className="my-1 border-t border-line" />;
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
