/** The largest things that the API takes; each is checked where the value enters. */

/**
 * The request line with its headers: commands and their environment travel in the query (contract.md
 * section 0.1). The front door and the agent behind it take the same.
 */
export const headerSizeBytesMax = 1024 * 1024;
/** JSON bodies: a create call with the largest environment fits. */
export const jsonBodySizeBytesMax = 1024 * 1024;

/** A DNS label (RFC 1035): the sprite's URL begins with `<name>-<org short id>`. */
export const dnsLabelLengthMax = 63;
export const organizationSlugLengthMax = 40;

export const environmentEntriesMax = 1000;
export const environmentKeyLengthMax = 256;
/** Linux takes at most 128 KiB for one `KEY=VALUE` string with its final NUL. */
export const environmentEntrySizeBytesMax = 128 * 1024 - 1;
export const environmentSizeBytesMax = 512 * 1024;

export const labelsMax = 64;
export const labelLengthMax = 128;
export const regionLengthMax = 64;

export const listPageSizeMax = 50;
export const continuationTokenLengthMax = 256;

export const checkpointCommentLengthMax = 4096;
export const tokenDescriptionLengthMax = 256;
export const loginClientLengthMax = 100;

/** Go reads NDJSON with a scanner that gives up on lines of 64 KiB. */
export const ndjsonLineSizeBytesMax = 64 * 1024 - 1;

/** A host name (RFC 1035, in text); addresses are shorter. */
export const dnsNameLengthMax = 253;
/** A hold that nobody refreshes ends within the hour, so that a forgotten one costs no more. */
export const taskExpiryMsMax = 3_600_000;
export const taskNameLengthMax = 128;
export const tasksMax = 100;

/** A message that starts an operation on a control connection: what would fit into a query. */
export const controlMessageBytesMax = 1024 * 1024;

/** Linux takes paths of 4,096 bytes with their final NUL. */
export const filePathBytesMax = 4095;
export const fileNamePatternLengthMax = 255;
/** Named in one subscription to changes of files. */
export const watchedPathsMax = 256;

export const serviceNameLengthMax = 64;
export const serviceArgumentsMax = 256;
/** A service's command, arguments and environment together. */
export const serviceDefinitionSizeBytesMax = 64 * 1024;
export const serviceNeedsMax = 64;

export const networkRulesMax = 1000;
/** A wildcard, a domain name and its final dot. */
export const domainLengthMax = 2 + 253 + 1;
export const policyDevicesMax = 16;
/** Below these a container does not start, or cannot run a command. */
export const memoryPolicyMbMin = 64;
export const cpuCoresPolicyMin = 0.05;
export const processesPolicyMin = 32;

/** Of one answer about usage: its rows, and how far it reaches, in days and by the hour. */
export const usagePageSizeMax = 1_000;
export const usageDaysMax = 400;
export const usageHoursMax = 35 * 24;

/** Of a sprite's own idle window: less would suspend and wake it all day long, more is better said as `off`. */
export const idleWindowMsMin = 1_000;
export const idleWindowMsMax = 30 * 24 * 3_600_000;

/** Characters of a cron expression. */
export const cronLengthMax = 200;
