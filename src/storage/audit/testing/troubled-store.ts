/** A store that refuses some writes for a while. */
import { SpriteError } from "../../../contract/errors.ts";
import type { ObjectStore } from "../../object-store/object-store.ts";

export function refusingWrites(
  store: ObjectStore,
  isRefused: (key: string) => boolean,
): ObjectStore {
  const writes = new Set<string>(["put", "putIfAbsent", "swap", "putFile"]);
  return new Proxy(store, {
    get: (target, name: keyof ObjectStore) => {
      const method = (target[name] as (...all: unknown[]) => unknown).bind(target);
      if (!writes.has(name)) return method;
      return async (key: string, ...rest: unknown[]) => {
        if (isRefused(key)) throw new SpriteError("storage_failure", "refused");
        return await method(key, ...rest);
      };
    },
  });
}
