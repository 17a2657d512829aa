/** Which services are started before which. */

interface Needing {
  name: string;
  needs: readonly string[];
}

/**
 * The named ones and all that they need, each behind what it needs. Names that nobody knows are
 * left out; where services need each other in a circle, one of them comes too early.
 */
export function startOrder(
  services: ReadonlyMap<string, Needing>,
  names: Iterable<string>,
): string[] {
  const order = new Set<string>();
  const seen = new Set<string>();
  const visit = (name: string): void => {
    const service = services.get(name);
    if (service === undefined || seen.has(name)) return;
    seen.add(name);
    for (const needed of service.needs) visit(needed);
    order.add(name);
  };
  for (const name of names) visit(name);
  return [...order];
}

/** A circle through this service, as names from it and back to it; null when there is none. */
export function circleThrough(
  services: ReadonlyMap<string, Needing>,
  name: string,
): string[] | null {
  const dead = new Set<string>();
  const walk = (current: string, path: readonly string[]): string[] | null => {
    for (const needed of services.get(current)?.needs ?? []) {
      if (needed === name) return [...path, name];
      if (dead.has(needed)) continue;
      dead.add(needed);
      const found = walk(needed, [...path, needed]);
      if (found !== null) return found;
    }
    return null;
  };
  return walk(name, [name]);
}

/** Those that name it among their needs. */
export function dependentsOf(services: Iterable<Needing>, name: string): string[] {
  return [...services].filter(({ needs }) => needs.includes(name)).map((service) => service.name);
}
