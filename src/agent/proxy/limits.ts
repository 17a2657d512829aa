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
/** One message of a client; SDKs send what they read from a socket. */
export const tunnelMessageBytesMax = 512 * 1024;
/** How long the rest of what a client sent may take to reach a target that it has left. */
export const leaveMsMax = 60_000;
