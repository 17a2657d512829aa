import type { Route } from "../api/route.ts";
import type { UrlLeases } from "./url-leases.ts";

/** For the worker: a lease of the sprite's URL. It wakes nobody until it asks. */
export function urlRoutes(leases: Pick<UrlLeases, "open">): Route[] {
  return [
    {
      method: "POST",
      pattern: ["url"],
      isQuiet: true,
      handle: ({ request, response }) => leases.open(request, response),
    },
  ];
}
