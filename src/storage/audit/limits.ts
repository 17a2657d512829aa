/** The times and sizes of audits. */
import { retentionMsDefault } from "../volume/limits.ts";

/** What nobody names is kept as long as states of the past can be restored that may name it. */
export const graceMsMin = retentionMsDefault;

/**
 * A volume without a head is a fork or an import that goes on or has died, and one that no registry names may be of
 * a registry that is not replicated at the moment: neither is given up before it lies still for so long.
 */
export const abandonedAgeMsMin = 24 * 60 * 60_000;
/** How often a volume's map is read anew, since the volume's writer has merged files of the chain meanwhile. */
export const mapReadTriesMax = 5;
/** Keys named in one report: of more only the number is told. */
export const keysNamedMax = 1_000;
/** Objects that one request deletes. */
export const deletedAtOnceMax = 1_000;
/** What one run deletes unless told otherwise; the next goes on. */
export const deletedBytesMaxDefault = 1024 ** 4;

/** Segments of which a scrubber collects the slices in one walk through the map. */
export const scrubbedSegmentsAtOnce = 64;
/** Places named for one damaged object: of more only the first are told. */
export const placesNamedMax = 16;
/** Findings that are kept; a bucket with more has other troubles than a list that ends. */
export const findingsMax = 1_000;

/** The server's scrubber leaves a start alone, and after a failure and between two passes it waits. */
export const scrubStartDelayMs = 10 * 60_000;
export const scrubRetryMs = 5 * 60_000;
export const scrubPassIntervalMs = 7 * 24 * 60 * 60_000;
/** Bytes a second that the server's scrubber reads unless it is told otherwise: some 600 GB a week. */
export const scrubRateBytesDefault = 1024 * 1024;
/** For the thread to end when the server stops. */
export const scrubDrainMs = 1_000;
