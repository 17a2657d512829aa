/** How long each thing is measured. The whole bench fits 15 minutes, the quick one 5. */
export interface Plan {
  quick: boolean;
  createRounds: number;
  /** Creates at once, on a full pool. */
  burstCreates: number;
  execRounds: number;
  /** Commands of ours for each one of the peer, which takes twenty times as long. */
  execsEachRound: number;
  serverStarts: number;
  checkpointRounds: number;
  /** Runs of the writer whose longest gap is the pause, on an empty disk beside the peer, and checkpoints in each. */
  pauseRuns: number;
  pauseCheckpointsEachRun: number;
  /** The same on disks that are in use. */
  pauseCheckpointsOfSize: number;
  /** Alternations between sprite and host for each disk row. */
  diskRounds: number;
  /** The same for rows that take as long as they take: trees of small files. */
  treeRounds: number;
  fioSeconds: number;
  fioFileMegabytes: number;
  /** The same for the rows beside other ways to use a bucket. */
  peerRounds: number;
  peerSeconds: number;
  peerFileMegabytes: number;
  /** Openings of a volume that this machine has nothing of. */
  coldOpens: number;
  /** Files that are read from the bucket at each distance, and how large each is. */
  coldReads: number;
  coldReadMegabytes: number;
  fsyncRounds: number;
  /** Rounds of sleeping and waking; cold sprites that are asked for at once; sprites whose memory is measured in each state. */
  wakeRounds: number;
  stormSprites: number;
  memorySprites: number;
}

export const fullPlan: Plan = {
  quick: false,
  createRounds: 12,
  burstCreates: 100,
  execRounds: 50,
  execsEachRound: 4,
  serverStarts: 4,
  checkpointRounds: 6,
  pauseRuns: 1,
  pauseCheckpointsEachRun: 8,
  pauseCheckpointsOfSize: 15,
  diskRounds: 3,
  treeRounds: 3,
  fioSeconds: 2,
  fioFileMegabytes: 1024,
  peerRounds: 2,
  peerSeconds: 1,
  peerFileMegabytes: 64,
  coldOpens: 10,
  coldReads: 2,
  coldReadMegabytes: 96,
  fsyncRounds: 2,
  wakeRounds: 15,
  stormSprites: 24,
  memorySprites: 8,
};

export const quickPlan: Plan = {
  quick: true,
  createRounds: 4,
  burstCreates: 40,
  execRounds: 15,
  execsEachRound: 3,
  serverStarts: 2,
  checkpointRounds: 3,
  pauseRuns: 1,
  pauseCheckpointsEachRun: 4,
  pauseCheckpointsOfSize: 6,
  diskRounds: 2,
  treeRounds: 1,
  fioSeconds: 1,
  fioFileMegabytes: 512,
  peerRounds: 1,
  peerSeconds: 1,
  peerFileMegabytes: 64,
  coldOpens: 3,
  coldReads: 1,
  coldReadMegabytes: 96,
  fsyncRounds: 1,
  wakeRounds: 5,
  stormSprites: 8,
  memorySprites: 3,
};
