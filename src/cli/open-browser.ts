import { spawn } from "node:child_process";
import type { Environment } from "./target.ts";

/** True when a browser that this process opens would appear in front of the person who asked. */
export function hasBrowser(env: Environment): boolean {
  const isRemote = has(env, "SSH_CONNECTION") || has(env, "SSH_TTY");
  if (isRemote) return false;
  return process.platform === "darwin" || has(env, "DISPLAY") || has(env, "WAYLAND_DISPLAY");
}

/**
 * Hands a web address to the desktop, and nothing else: other schemes may start programs. False when
 * there was nobody to hand it to.
 */
export async function openBrowser(address: string, env: Environment): Promise<boolean> {
  const url = URL.parse(address);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) return false;
  const program = process.platform === "darwin" ? "open" : "xdg-open";
  return await new Promise((resolve) => {
    const child = spawn(program, [url.href], {
      env: env,
      stdio: "ignore",
      detached: true,
    });
    child.once("error", () => resolve(false));
    child.once("spawn", () => {
      child.unref();
      resolve(true);
    });
  });
}

function has(env: Environment, name: string): boolean {
  return (env[name] ?? "") !== "";
}
