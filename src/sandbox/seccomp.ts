export type SeccompProfile = Record<string, unknown> | null;
