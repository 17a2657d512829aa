/** A store that can be killed with kill -9 and started again at the same place: what is in it stays. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";

const script = join(import.meta.dirname, "store-proxy.ts");

export class StoreProcess {
  readonly #storeEndpoint: string;
  #child: ChildProcess | null = null;
  #port = 0;

  private constructor(storeEndpoint: string) {
    this.#storeEndpoint = storeEndpoint;
  }

  static async start(storeEndpoint: string): Promise<StoreProcess> {
    const store = new StoreProcess(storeEndpoint);
    await store.restart();
    return store;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async restart(): Promise<void> {
    const words = [script, "--endpoint", this.#storeEndpoint, "--port", String(this.#port)];
    const child = spawn(process.execPath, words, { stdio: ["ignore", "pipe", "inherit"] });
    this.#child = child;
    const [line] = (await Promise.race([
      once(createInterface({ input: child.stdout }), "line"),
      once(child, "exit").then(() => Promise.reject(new Error("the store's proxy ended"))),
    ])) as [string];
    this.#port = Number(new URL(line).port);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }
}
