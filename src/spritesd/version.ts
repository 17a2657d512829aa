/** What `Sprite-Version` says. SDKs enable attach by path for any X.Y.Z release (contract.md section 0.3). */
export const version = "v0.1.0";
