/** A real browser for tests: Debian's headless Chromium, with a home of its own, that reaches this machine only. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium, type BrowserContext } from "playwright-core";

const program = "/usr/bin/chromium-headless-shell";
/** For its start, for a page, and for what is to appear on one; a page may wait for its sprite to wake on a busy machine. */
const waitMsMax = 90_000;

/** Nothing leaves the machine: every name is loopback, and nothing is asked for in the background. */
const flags = [
  "--host-resolver-rules=MAP * 127.0.0.1",
  "--no-sandbox",
  "--no-proxy-server",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-domain-reliability",
  "--disable-sync",
  "--disable-features=OptimizationHints,MediaRouter,DialMediaRouteProvider",
  "--dns-over-https-mode=off",
  "--no-first-run",
  "--no-pings",
];

export interface TestBrowser extends AsyncDisposable {
  /** Cookies and storage of its own, as another person's browser has them. */
  newContext(): Promise<BrowserContext>;
}

/** @param authorityPem whom it trusts, as after `sprite trust`; its certificate errors count */
export async function startChromium(authorityPem: string): Promise<TestBrowser> {
  if (!existsSync(program)) throw new Error("apt-get install chromium-headless-shell");
  const home = mkdtempSync(join(tmpdir(), "chromium-home-"));
  try {
    const store = join(home, ".pki/nssdb");
    mkdirSync(store, { recursive: true });
    const file = join(home, "ca.pem");
    writeFileSync(file, authorityPem);
    const certutil = (...words: string[]) =>
      execFileSync("certutil", [...words, "-d", `sql:${store}`], { stdio: "pipe" });
    certutil("-N", "--empty-password");
    certutil("-A", "-n", "test authority", "-t", "C,,", "-i", file);
    const browser = await chromium.launch({
      executablePath: program,
      args: flags,
      timeout: waitMsMax,
      env: { PATH: process.env["PATH"] ?? "", HOME: home },
    });
    return {
      async newContext() {
        const context = await browser.newContext({ ignoreHTTPSErrors: false });
        context.setDefaultTimeout(waitMsMax);
        return context;
      },
      async [Symbol.asyncDispose]() {
        await browser.close();
        rmSync(home, { recursive: true, force: true });
      },
    };
  } catch (error) {
    rmSync(home, { recursive: true, force: true });
    throw error;
  }
}
