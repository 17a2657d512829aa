import assert from "node:assert/strict";
import { test } from "node:test";

import { imageUuid, recipeHash } from "./recipe-hash.ts";
import { imageNames, recipes } from "./recipes.ts";

test("a recipe's hash follows from its content alone", () => {
  assert.equal(recipeHash(recipes.dev, "24.0.0"), recipeHash({ ...recipes.dev }, "24.0.0"));
  assert.notEqual(recipeHash(recipes.dev, "24.0.0"), recipeHash(recipes.minimal, "24.0.0"));
});

test("any change makes another image", () => {
  const before = recipeHash(recipes.dev, "24.0.0");
  const changes = [
    { ...recipes.dev, suite: "sid" },
    { ...recipes.dev, packages: [...recipes.dev.packages, "nano"] },
    { ...recipes.dev, hooks: [...recipes.dev.hooks, "true"] },
    { ...recipes.dev, files: recipes.dev.files.slice(1) },
  ];
  for (const changed of changes) assert.notEqual(recipeHash(changed, "24.0.0"), before);
  assert.notEqual(recipeHash(recipes.dev, "24.0.1"), before);
  assert.equal(recipeHash(recipes.minimal, "24.0.1"), recipeHash(recipes.minimal, "24.0.0"));
});

test("the file system's UUID is a valid one", () => {
  const uuid = imageUuid(recipeHash(recipes.minimal, "24.0.0"));
  assert.match(uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
});

test("every recipe has the programs that the product and the contract promise", () => {
  for (const name of imageNames) {
    for (const promised of ["bash", "coreutils", "sudo", "curl", "python3", "iproute2", "procps"]) {
      assert.ok(recipes[name].packages.includes(promised), `${name} lacks ${promised}`);
    }
    assert.equal(new Set(recipes[name].packages).size, recipes[name].packages.length);
  }
});
