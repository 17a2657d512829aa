/** The MCP server's maxima. */

/** Of a tool's text, half of it from the beginning and half from the end. */
export const toolTextSizeBytesMax = 128 * 1024;
/** Fetch of Node gives up after 300 s without a head; a tool that is cut off says what it has by then. */
export const requestTimeoutMs = 270_000;
/** Messages in one body, which only the protocol of March 2025 knows. */
export const batchMessagesMax = 16;
/** Requests under way; each may hold its body and two texts. */
export const requestsPerOrganizationMax = 64;
/** When to ask again if there are too many. */
export const requestsRetrySeconds = 1;
/** Of an id, a method's or a tool's name, as far as it is repeated in an error. */
export const shownNameLengthMax = 100;
export const idLengthMax = 256;
/** What the tools may change, clients may keep for a while: they are the same until the next release. */
export const listLifetimeMs = 300_000;
/** The head of a request to an agent, beside its target. */
export const agentHeadSizeBytesMax = 1024;
