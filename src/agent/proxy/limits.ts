/** Every bound of tunnels, with its reason. */

/** Tunnels at once; each one holds two descriptors. */
export const tunnelsMax = 2_000;
/** From the handshake to the client's first message. */
export const firstMessageMsMax = 30_000;
/** JavaScript and Elixir give up on an answer after 10 s, and should hear ours before. */
export const connectMsMax = 9_000;
/** Looking a name up inside. */
export const lookupMsMax = 5_000;
/** What the lookup may say, and how many of its addresses are tried. */
export const lookupOutputBytesMax = 16 * 1024;
export const addressesMax = 8;

/** Bytes that wait in one direction before its source is no longer read. */
export const queueBytesMax = 256 * 1024;
/** A text message that is kept: the target's name and little else. */
export const frameTextBytesMax = 4 * 1024;
/** From our goodbye to the client's: it may have much to read before. */
export const closeMsMax = 120_000;
/** How long the rest of what a client sent may take to reach a target that it has left. */
export const leaveMsMax = 60_000;
