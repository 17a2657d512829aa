/**
 * Loaded before each test file of `make test`: property tests draw the same examples every time, so
 * that what fails was broken by a change. `OPENSPRITES_PROPERTY_SEED=random` has others; a file that
 * is run by itself (`node --test`) always has.
 */
import fc from "fast-check";

const everydaySeed = 20_261_124;
const chosen = process.env["OPENSPRITES_PROPERTY_SEED"];

if (chosen !== "random") fc.configureGlobal({ seed: Number(chosen ?? everydaySeed) });
