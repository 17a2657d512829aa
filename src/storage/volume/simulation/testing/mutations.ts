import type { Mutation } from "./stand-in-hooks.ts";
export const mutations: readonly Mutation[] = [];
