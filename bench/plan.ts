/** How long each thing is measured. The whole bench fits 12 minutes, the quick one 3. */
export interface Plan {
  quick: boolean;
  createRounds: number;
  execRounds: number;
  /** Commands of ours for each one of the peer, which takes twenty times as long. */
  execsEachRound: number;
  serverStarts: number;
  checkpointRounds: number;
  checkpointRoundsAt5Gb: number;
  /** Runs of the writer whose longest gap is the pause, and checkpoints in each. */
  pauseRuns: number;
  pauseCheckpointsEachRun: number;
  /** Alternations between sprite and host for each disk row. */
  diskRounds: number;
  /** The same for rows that take as long as they take: trees of small files. */
  treeRounds: number;
  fioSeconds: number;
  fioFileMegabytes: number;
}

export const fullPlan: Plan = {
  quick: false,
  createRounds: 12,
  execRounds: 50,
  execsEachRound: 4,
  serverStarts: 4,
  checkpointRounds: 8,
  checkpointRoundsAt5Gb: 4,
  pauseRuns: 2,
  pauseCheckpointsEachRun: 5,
  diskRounds: 3,
  treeRounds: 3,
  fioSeconds: 2,
  fioFileMegabytes: 1024,
};

export const quickPlan: Plan = {
  quick: true,
  createRounds: 4,
  execRounds: 15,
  execsEachRound: 3,
  serverStarts: 2,
  checkpointRounds: 3,
  checkpointRoundsAt5Gb: 0,
  pauseRuns: 1,
  pauseCheckpointsEachRun: 4,
  diskRounds: 2,
  treeRounds: 1,
  fioSeconds: 1,
  fioFileMegabytes: 512,
};
