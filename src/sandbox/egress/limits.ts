/** Every bound of what sprites may look up and reach. */

/** Addresses that a sprite is told and may connect to; the one told longest ago makes room. */
export const toldAddressesMax = 4096;
/** Names that are remembered for one address: many share those of a content network. */
export const namesPerAddressMax = 16;
/** Of one answer. */
export const addressesPerAnswerMax = 64;

/** Answers tell no longer life, so that a client that keeps to it asks again while the address is open. */
export const toldTtlSecondsMax = 3600;
/**
 * How long an address is open at least once it was told: clients keep addresses beyond their time to
 * live. It is opened for twice the time that counts, and so anew at most once in that time.
 */
export const openSecondsMin = 150;

/** Compression pointers in one name: each leads to an earlier place, so this is only a bound on work. */
export const pointersMax = 16;
/** Records of one answer that are looked at. */
export const recordsMax = 256;

/** The part of a name that a wildcard stands for: a host name in the wild has rarely more than 60. */
export const openNameLengthMax = 120;
/** A web page with a hundred new hosts passes at once; after that a few new names a second. */
export const nameBudgetBytesMax = 8 * 1024;
export const nameBudgetBytesPerSecond = 128;
export const rememberedNamesMax = 4096;

/** Time that the resolver above has to answer. */
export const upstreamMsMax = 5_000;
/** Questions of one sprite that wait for an answer; one more is refused. */
export const waitingPerSpriteMax = 64;
export const waitingMax = 1024;

/** DNS over TCP: connections at once, in all and of one sprite, and how long one may say nothing. */
export const streamsMax = 256;
export const streamsPerSpriteMax = 8;
export const streamIdleMsMax = 10_000;
/** Questions that one stream may have waiting; more are read when these are answered. */
export const streamQuestionsMax = 8;

/** DNS questions a second of one sprite; the kernel drops what is more. */
export const questionsPerSecondMax = 500;

/** Connections of one sprite that the gateway keeps track of; one more is refused. */
export const connectionsPerSpriteMax = 8_192;

/**
 * Answers of one sprite that change the kernel's sets: each costs the machine some milliseconds that no
 * limit of the sprite's counts. Whoever owns an allowed name could answer with another address each time.
 */
export const changesPerSpriteMax = 64;
export const changesPerSpritePerSecond = 8;

/** Changes of the kernel's sets that are made in one go. */
export const changesPerBatchMax = 512;

/** Starting the resolver's thread, and making a policy hold. */
export const resolverStartMsMax = 10_000;
export const policyCallMsMax = 10_000;
/** Before a resolver's thread that ended is started again; doubled each time, up to the larger. */
export const resolverRestartMs = 50;
export const resolverRestartMsMax = 5_000;
