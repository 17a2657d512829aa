export const metricsRequestTimeoutMs = 10_000;
