/** What the comparing process is told: the image, and each tree's layer above it. */
export interface DiffStart {
  imageDirectory: string;
  before: string;
  after: string;
}
