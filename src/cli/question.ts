import { createInterface } from "node:readline/promises";

/** Asks at the terminal, on stderr. Ctrl+D is an empty answer. */
export async function ask(question: string): Promise<string> {
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    // Ctrl+D at the question is a no; it would otherwise leave the answer open for ever.
    const closed = new Promise<string>((resolve) => prompt.once("close", () => resolve("")));
    return (await Promise.race([prompt.question(question), closed])).trim();
  } finally {
    prompt.close();
  }
}
