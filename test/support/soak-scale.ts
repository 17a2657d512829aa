/**
 * How long the soak tests go on. In `make test` they are short; `make soak-real` (tools/soak-real.ts) makes them long by these variables.
 */
/** In `make test`, which is there to find what a change breaks: a failure must not depend on the day. */
const everydaySeed = 20_261_124;

export const soakVariables = {
  /** Times that something is killed. */
  kills: "OPENSPRITES_SOAK_KILLS",
  /** Seconds of random operations on a disk, and of those on files. */
  seconds: "OPENSPRITES_SOAK_SECONDS",
  /** Short commands over a network that fails. */
  commands: "OPENSPRITES_SOAK_COMMANDS",
  seed: "OPENSPRITES_SOAK_SEED",
  /** Of many.root.test.ts: sprites in each state, how many cold ones are asked at once, seconds in which requests are counted. */
  cold: "OPENSPRITES_SOAK_COLD",
  warm: "OPENSPRITES_SOAK_WARM",
  running: "OPENSPRITES_SOAK_RUNNING",
  storm: "OPENSPRITES_SOAK_STORM",
  restSeconds: "OPENSPRITES_SOAK_REST_SECONDS",
} as const;

/** True when somebody asked for the long version. */
export const isSoak: boolean = Object.values(soakVariables).some(
  (name) => process.env[name] !== undefined,
);

export function soakSetting(name: keyof typeof soakVariables, short: number): number {
  const text = process.env[soakVariables[name]];
  return text === undefined ? short : Number(text);
}

/** Printed by whoever uses it, so that a run can be had again; tools/soak-real.ts chooses another each time. */
export function soakSeed(): number {
  return soakSetting("seed", everydaySeed);
}
