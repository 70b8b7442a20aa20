/** Packs beside the page, so that a large program does not freeze it. */

import { archive } from "./archive";
import type { Picked } from "./collect";

self.onmessage = async ({ data }: MessageEvent<Picked[]>) => {
  try {
    const packed = await archive(data);
    self.postMessage({ packed }, { transfer: [packed.content.buffer] });
  } catch (error) {
    self.postMessage({ failed: error instanceof Error ? error.message : String(error) });
  }
};
