/** What a worker tells and asks its agent of the sprite's sleep. */
import { SpriteError } from "../../contract/errors.ts";
import { readJson, sendNoContent } from "../api/responses.ts";
import type { Route } from "../api/route.ts";
import type { Rest } from "./rest.ts";

export interface RestRouteParts {
  rest: Pick<Rest, "retire" | "prepareSleep" | "setWindow">;
}

export function restRoutes({ rest }: RestRouteParts): Route[] {
  return [
    {
      method: "POST",
      pattern: ["wake"],
      // It is the wake that every request waits for.
      handle: ({ response }) => sendNoContent(response),
    },
    {
      method: "POST",
      pattern: ["retire"],
      isQuiet: true,
      handle: async ({ response }) => {
        await rest.retire();
        sendNoContent(response);
      },
    },
    {
      method: "POST",
      pattern: ["prepare-sleep"],
      isQuiet: true,
      handle: async ({ request, response }) => {
        const { force } = (await readJson(request)) as { force?: unknown };
        await rest.prepareSleep({ isForced: force === true });
        sendNoContent(response);
      },
    },
    {
      method: "PUT",
      pattern: ["idle-window"],
      isQuiet: true,
      handle: async ({ request, response }) => {
        rest.setWindow(parseIdleWindowBody(await readJson(request)));
        sendNoContent(response);
      },
    },
  ];
}

/** The worker's own words, checked where they came in. */
function parseIdleWindowBody(body: unknown): number | null {
  const { idle_window_ms: windowMs } = (body ?? {}) as { idle_window_ms?: unknown };
  if (windowMs === null || (typeof windowMs === "number" && windowMs > 0)) return windowMs;
  throw new SpriteError("invalid_request", "expected an idle window");
}
