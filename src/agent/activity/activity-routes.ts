import { sendJson } from "../api/responses.ts";
import type { Route } from "../api/route.ts";
import type { Rest } from "./rest.ts";

/** `GET /v1/sprites/{n}/activity`. */
export function activityRoutes(rest: Rest): Route[] {
  return [
    {
      method: "GET",
      pattern: ["activity"],
      isQuiet: true,
      handle: ({ response }) => sendJson(response, 200, rest.show()),
    },
  ];
}
