import type { WriteStream } from "node:tty";

export interface Progress {
  info(message: string): void;
  end(): void;
}

/**
 * Lines on a stream. When a person watches, the last one also counts its seconds, so that a long
 * step is seen to live.
 */
export function startProgress(stream: NodeJS.WriteStream | WriteStream, prefix: string): Progress {
  if (!stream.isTTY) {
    return { info: (message) => stream.write(`${prefix}${message}\n`), end: () => {} };
  }
  let current: { message: string; startedAtMs: number } | null = null;
  const draw = (): void => {
    if (current === null) return;
    const seconds = Math.floor((performance.now() - current.startedAtMs) / 1000);
    const count = seconds > 0 ? ` ${seconds} s` : "";
    stream.write(`\r\x1b[K${prefix}${current.message}${count}`);
  };
  const finishLine = (): void => {
    draw();
    if (current !== null) stream.write("\n");
  };
  const timer = setInterval(draw, 1000);
  return {
    info(message) {
      finishLine();
      current = { message, startedAtMs: performance.now() };
      draw();
    },
    end() {
      clearInterval(timer);
      finishLine();
      current = null;
    },
  };
}
