/** Whether a name fits a glob: `*`, `?` and sets such as `[a-z]` or `[!a]`. Takes time in proportion. */
export function matchesPattern(pattern: string, name: string): boolean {
  let [at, place] = [0, 0];
  // Where to go on when what follows the last star does not fit: the star takes one more.
  let retry: { at: number; place: number } | null = null;
  while (place < name.length) {
    const length = pattern[at] === "*" ? 0 : fittingLength(pattern, at, name[place] ?? "");
    if (length > 0) {
      at += length;
      place += 1;
    } else if (pattern[at] === "*") {
      retry = { at: at + 1, place };
      at += 1;
    } else if (retry !== null) {
      retry.place += 1;
      ({ at, place } = retry);
    } else {
      return false;
    }
  }
  while (pattern[at] === "*") at += 1;
  return at === pattern.length;
}

/** The length of the pattern's part that takes this character; 0 when it does not. */
function fittingLength(pattern: string, at: number, character: string): number {
  const first = pattern[at];
  if (first === "?") return 1;
  if (first === "\\" && at + 1 < pattern.length) return pattern[at + 1] === character ? 2 : 0;
  // A set's first character may be the bracket that would close it.
  const end = first === "[" ? pattern.indexOf("]", at + (isNegated(pattern, at) ? 3 : 2)) : -1;
  if (end < 0) return first === character ? 1 : 0;
  const isIn = setHolds(pattern.slice(at + (isNegated(pattern, at) ? 2 : 1), end), character);
  return isIn === isNegated(pattern, at) ? 0 : end + 1 - at;
}

function isNegated(pattern: string, at: number): boolean {
  return pattern[at + 1] === "!" || pattern[at + 1] === "^";
}

function setHolds(set: string, character: string): boolean {
  for (let at = 0; at < set.length; at += 1) {
    if (set[at + 1] === "-" && at + 2 < set.length) {
      if ((set[at] ?? "") <= character && character <= (set[at + 2] ?? "")) return true;
      at += 2;
    } else if (set[at] === character) {
      return true;
    }
  }
  return false;
}
