export type Environment = ReadonlyArray<readonly [name: string, value: string]>;

export const homeDirectory = "/home/sprite";

const searchPath = [
  `${homeDirectory}/.local/bin`,
  "/usr/local/sbin",
  "/usr/local/bin",
  "/usr/sbin",
  "/usr/bin",
  "/sbin",
  "/bin",
  "/.sprite/bin",
].join(":");

const basis: Environment = [
  ["PATH", searchPath],
  ["HOME", homeDirectory],
  ["USER", "sprite"],
  ["LOGNAME", "sprite"],
  ["SHELL", "/bin/bash"],
  ["LANG", "C.UTF-8"],
  // A sprite has no screen: the terminal that is attached is asked.
  ["BROWSER", "/.sprite/bin/sprite-browser"],
];

/** What a command finds set: the basis, overlaid by the sprite's own, overlaid by the request's. */
export function commandEnvironment(options: {
  terminal: boolean;
  sprite: Readonly<Record<string, string>>;
  request: Environment;
}): Environment {
  const terminal: Environment = options.terminal ? [["TERM", "xterm-256color"]] : [];
  return [...basis, ...terminal, ...Object.entries(options.sprite), ...options.request];
}
