/** The C library for processes that rarely need it: it costs some megabytes, and is loaded at the first use. */
import { createRequire } from "node:module";
import { constants } from "node:os";

import type Koffi from "koffi";

import { HostError } from "./command.ts";

const load = createRequire(import.meta.url);

type Call = (...args: readonly unknown[]) => number;

export interface LateLibrary {
  setNamespace: Call;
  setHostname: Call;
  socket: Call;
  send: Call;
  receive: Call;
  errno: () => number;
}

let library: LateLibrary | null = null;

export function lateLibrary(): LateLibrary {
  if (library !== null) return library;
  const koffi = load("koffi") as typeof Koffi;
  const libc = koffi.load("libc.so.6");
  const call = (prototype: string): Call => {
    const foreign = libc.func(prototype) as (...args: readonly unknown[]) => unknown;
    return (...args) => Number(foreign(...args));
  };
  library = {
    setNamespace: call("int setns(int, int)"),
    setHostname: call("int sethostname(const char *, unsigned long)"),
    socket: call("int socket(int, int, int)"),
    send: call("long send(int, const void *, unsigned long, int)"),
    receive: call("long recv(int, void *, unsigned long, int)"),
    errno: () => koffi.errno(),
  };
  return library;
}

/** A failed call's error, by its number. */
export function callFailed(call: string, errno: number): HostError {
  const name = Object.entries(constants.errno).find(([, number]) => number === errno)?.[0];
  return new HostError("system_call", `${call}: ${name ?? `errno ${errno}`}`, {
    command: call,
    errno: name ?? null,
  });
}
