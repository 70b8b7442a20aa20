/** Every address of the dashboard, on one page. Each page's code is fetched when it is first looked at. */

import type { QueryClient } from "@tanstack/react-query";
import {
  createRootRouteWithContext,
  createRoute,
  createRouter,
  lazyRouteComponent,
  redirect,
} from "@tanstack/react-router";
import { me } from "./api/me";
import { watchSession } from "./api/session";
import { PageFault, Shell } from "./app/Shell";
import { Missing, Waiting } from "./app/Missing";
import { parseSearch, readOfferSearch, stringifySearch } from "./offers/search";
import { readListSearch, readPageSearch } from "./workload/search";

interface Context {
  client: QueryClient;
}

const root = createRootRouteWithContext<Context>()({
  component: Shell,
  errorComponent: PageFault,
  notFoundComponent: Missing,
});

/** Pages of somebody's own things. */
const own = createRoute({
  getParentRoute: () => root,
  id: "own",
  beforeLoad: async ({ context, location }) => {
    if ((await context.client.ensureQueryData(me)) === null)
      throw redirect({ to: "/account/login", search: { next: location.href } });
  },
});

const home = createRoute({
  getParentRoute: () => root,
  path: "/",
  beforeLoad: () => {
    throw redirect({ to: "/offers" });
  },
});

const offers = createRoute({
  getParentRoute: () => own,
  path: "/offers",
  validateSearch: readOfferSearch,
  component: lazyRouteComponent(() => import("./offers/OffersPage"), "OffersPage"),
});

const launch = createRoute({
  getParentRoute: () => own,
  path: "/launch",
  validateSearch: (given: Record<string, unknown>): { offers?: string; gpu?: string; resume?: string } => ({
    ...(given.offers ? { offers: String(given.offers) } : {}),
    ...(given.gpu ? { gpu: String(given.gpu) } : {}),
    ...(given.resume ? { resume: String(given.resume) } : {}),
  }),
  component: lazyRouteComponent(() => import("./launch/LaunchPage"), "LaunchPage"),
});

const workloads = createRoute({
  getParentRoute: () => own,
  path: "/workloads",
  validateSearch: readListSearch,
  component: lazyRouteComponent(() => import("./workload/WorkloadsPage"), "WorkloadsPage"),
});

const workload = createRoute({
  getParentRoute: () => own,
  path: "/workloads/$id",
  validateSearch: readPageSearch,
  component: lazyRouteComponent(() => import("./workload/WorkloadPage"), "WorkloadPage"),
});

const hosts = createRoute({
  getParentRoute: () => own,
  path: "/hosts",
  component: lazyRouteComponent(() => import("./hosts/HostsPage"), "HostsPage"),
});

const account = createRoute({
  getParentRoute: () => own,
  path: "/account",
  component: lazyRouteComponent(() => import("./account/AccountPage"), "AccountPage"),
});

const enterSearch = (given: Record<string, unknown>): { next?: string; email?: string; ended?: string } => ({
  ...(given.ended ? { ended: "1" } : {}),
  // Only to a page of our own: //elsewhere would be another site.
  ...(typeof given.next === "string" && /^\/(?![/\\])/.test(given.next) ? { next: given.next } : {}),
  ...(given.email ? { email: String(given.email) } : {}),
});

/** Who is in already needs no door. */
async function leadOn({ context, search }: { context: Context; search: { next?: string } }): Promise<void> {
  if ((await context.client.ensureQueryData(me)) !== null)
    throw redirect({ href: search.next ?? "/offers", replace: true });
}

const login = createRoute({
  getParentRoute: () => root,
  path: "/account/login",
  validateSearch: enterSearch,
  beforeLoad: leadOn,
  component: lazyRouteComponent(() => import("./account/EnterPages"), "LoginPage"),
});

const signup = createRoute({
  getParentRoute: () => root,
  path: "/account/signup",
  validateSearch: enterSearch,
  beforeLoad: leadOn,
  component: lazyRouteComponent(() => import("./account/EnterPages"), "SignupPage"),
});

const verify = createRoute({
  getParentRoute: () => root,
  path: "/account/verify-email/$key",
  component: lazyRouteComponent(() => import("./account/MailPages"), "VerifyPage"),
});

const forgotten = createRoute({
  getParentRoute: () => root,
  path: "/account/password/reset",
  component: lazyRouteComponent(() => import("./account/MailPages"), "ForgottenPage"),
});

const reset = createRoute({
  getParentRoute: () => root,
  path: "/account/password/reset/key/$key",
  component: lazyRouteComponent(() => import("./account/MailPages"), "ResetPage"),
});

const invitation = createRoute({
  getParentRoute: () => root,
  path: "/invitations/$token",
  component: lazyRouteComponent(() => import("./account/MailPages"), "InvitationPage"),
});

const routes = root.addChildren([
  home,
  login,
  signup,
  verify,
  forgotten,
  reset,
  invitation,
  own.addChildren([offers, launch, workloads, workload, hosts, account]),
]);

export function makeRouter(client: QueryClient) {
  const router = createRouter({
    routeTree: routes,
    context: { client },
    defaultPreload: false,
    defaultPendingComponent: Waiting,
    defaultErrorComponent: PageFault,
    scrollRestoration: true,
    parseSearch,
    stringifySearch,
  });
  // The code of the first page comes while it is asked who is here, not after.
  for (const { routeId } of router.matchRoutes(router.latestLocation))
    void router.loadRouteChunk(router.routesById[routeId as keyof typeof router.routesById]);
  watchSession(client, () => {
    if (router.state.matches.some((match) => match.routeId === own.id))
      void router.navigate({
        to: "/account/login",
        search: { next: router.state.location.href, ended: "1" },
        replace: true,
      });
  });
  return router;
}

declare module "@tanstack/react-router" {
  interface Register {
    router: ReturnType<typeof makeRouter>;
  }
}
