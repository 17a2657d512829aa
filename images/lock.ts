import { spawn } from "node:child_process";

/**
 * Holds an exclusive lock on a file until the returned function is called or this process dies: the
 * lock belongs to a child whose stdin ends with us, so that no stale lock can exist. `onWait` is
 * called once when somebody else holds it.
 */
export async function lockFile(path: string, onWait: () => void): Promise<() => Promise<void>> {
  const child = spawn(
    "flock",
    ["--exclusive", path, "sh", "-c", "echo locked; exec cat >/dev/null"],
    {
      stdio: ["pipe", "pipe", "ignore"],
    },
  );
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const patience = setTimeout(onWait, 500);
  try {
    await new Promise<void>((resolve, reject) => {
      child.stdout.once("data", () => resolve());
      child.once("error", (error) =>
        reject(new Error(`lock ${path}: ${error.message}`, { cause: error })),
      );
      child.once("close", () => reject(new Error(`lock ${path}: flock ended without the lock`)));
    });
  } finally {
    clearTimeout(patience);
  }
  return async () => {
    child.stdin.end();
    await ended;
  };
}
