/** Every bound of the command line client, with the reason for its size. */

/** A cold sprite may have to be fetched from the bucket before the handshake is answered. */
export const handshakeTimeoutMsMax = 60_000;
/** Creating boots a sprite; contract.md section 14.2 gives clients 120 s. */
export const createTimeoutMsMax = 120_000;
export const requestTimeoutMsMax = 60_000;
/** Creating, restoring and watching are streams: only silence ends them. */
export const streamSilenceMsMax = 300_000;
/** Shell completion must never make a prompt hang. */
export const completionTimeoutMsMax = 1_000;

/** Above the high mark the producer is paused, below the low mark it goes on. */
export const queueHighBytes = 1024 * 1024;
export const queueLowBytes = 256 * 1024;
/** A frame from the server is at most 1 MiB (contract.md section 3.2); this leaves room for others. */
export const frameSizeBytesMax = 16 * 1024 * 1024;
/** One line of NDJSON is below 64 KiB by contract; ten times that is a broken server. */
export const lineSizeBytesMax = 640 * 1024;
/** Of a thousand rows each. */
export const usagePagesMax = 1_000;
export const responseBodyBytesMax = 16 * 1024 * 1024;
export const errorBodyBytesMax = 64 * 1024;

export const pingIntervalMs = 15_000;
/** Without any frame or pong for this long, the connection is dead. */
export const connectionSilenceMsMax = 45_000;
/** How long a command may go on after this client was asked to end. */
export const signalGraceMsMax = 10_000;

export const spinnerDelayMs = 1_000;
export const spinnerIntervalMs = 100;

/** Pages of sprites that `list` follows: 50 a page, so 100,000 sprites. */
export const listPagesMax = 2_000;
export const suggestionDistanceMax = 3;
export const suggestionsMax = 3;

/** The keyring may ask its user for a password first. */
export const keyringTimeoutMsMax = 30_000;
export const keyringSizeBytesMax = 64 * 1024;

/** Connecting inside takes at most 9 s there; the sprite may have to wake first. */
export const tunnelReplyMsMax = 60_000;
/** How long a local connection waits for a server or sprite that is starting. */
export const tunnelRetryMsMax = 15_000;
export const forwardedConnectionsMax = 1_000;
/** Ports of one session that are forwarded unasked: a program inside decides how many it opens. */
export const sessionForwardsMax = 32;
export const browserUrlLengthMax = 8_192;
/** What comes at once after attaching is replayed, and asked its questions long ago. */
export const replayMs = 1_500;
/** Output that may be the beginning of a request is shown after this. */
export const heldOutputMs = 30;
/** Refusals in a row after which a session's requests for a browser are not shown any more. */
export const browserRefusalsMax = 3;

/** Small files of a directory that are copied at once. */
export const copyConcurrency = 8;
/** Times that a copy of one file goes on after its connection was lost. */
export const copyRetriesMax = 5;
export const copyRetryDelayMs = 300;
/** A sprite can make directories faster than they are copied. */
export const copyDepthMax = 256;
export const copyEntriesMax = 2_000_000;
/** One directory's listing: some 300,000 entries. */
export const listingBytesMax = 64 * 1024 * 1024;
export const linksPerCommand = 200;
export const remoteOutputBytesMax = 4 * 1024 * 1024;

/** A chooser of shells that is not there says so at once; a shell takes longer to be left by hand. */
export const missingChooserMsMax = 2_000;

/** Slower polling for a login after each `slow_down`, as RFC 8628 section 3.5 asks. */
export const slowDownMs = 1_000;
export const loginPollMsMin = 200;

/** Sprites that `sleep --all` puts to sleep at once. */
export const sleepsAtOnceMax = 8;
/** `list --watch` asks so often what the sprites in sight do, and so many of them. */
export const activityLookMs = 2_000;
export const activityLooksMax = 30;

/** A certificate authority is some 700 bytes. */
export const authoritySizeBytesMax = 64 * 1024;
export const storeProgramTimeoutMs = 60_000;
/** Browser profiles in one home directory. */
export const storesMax = 100;
