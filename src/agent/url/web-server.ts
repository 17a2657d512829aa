import { waitUntil } from "../../base/wait.ts";
import { SpriteError } from "../../contract/errors.ts";
import { urlPortDefault, type UrlAnswer } from "../../contract/url-lease.ts";
import type { GuestNetwork } from "../../sandbox/guest-network.ts";
import type { Services } from "../services/services.ts";
import { listenPollMs, startListenMsMax } from "./limits.ts";

/**
 * Where the sprite's web server listens: at the port of the service that has one, which is started if it does not run, or at the
 * usual one. @throws SpriteError nothing_listening, unavailable
 */
export async function findWebServer(
  parts: {
    services: Pick<Services, "ensureListening" | "group">;
    network: () => Promise<GuestNetwork>;
  },
  timeoutMs: number,
): Promise<Omit<UrlAnswer, "ask">> {
  const { services } = parts;
  const { first } = await parts.network();
  let found: { port: number } | null;
  try {
    found = await services.ensureListening(null, { timeoutMs });
  } catch (error) {
    if (!(error instanceof SpriteError)) throw error;
    if (error.code !== "start_failed" && error.code !== "deadline_exceeded") throw error;
    throw new SpriteError("nothing_listening", error.message, { cause: error });
  }
  if (found !== null) return { port: found.port, first };
  const group = await services.group();
  const mayStillListen = (): boolean =>
    group.list().some(({ state: { status, startedAtMs } }) => {
      const isYoung = startedAtMs === null || Date.now() - startedAtMs < startListenMsMax;
      return status === "starting" || (status === "running" && isYoung);
    });
  const isDecided = (): boolean => group.isListening(urlPortDefault) || !mayStillListen();
  await waitUntil(isDecided, {
    timeoutMs: Math.min(timeoutMs, startListenMsMax),
    intervalMs: listenPollMs,
  });
  if (group.isListening(urlPortDefault)) return { port: urlPortDefault, first };
  throw new SpriteError(
    "nothing_listening",
    `no service has an HTTP port, and nothing listens at port ${urlPortDefault}`,
  );
}
