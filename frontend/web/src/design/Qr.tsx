/** A text as a QR code, for a phone's camera. */

import type { ReactNode } from "react";
import { encode } from "uqr";
import { squares } from "./squares";

export interface QrProps {
  text: string;
  /** What it is, for who does not see it. */
  label: string;
}

/** Dark on white in either theme, with the quiet zone that the standard asks for: cameras want both. */
export default function Qr({ text, label }: QrProps): ReactNode {
  const { data, size } = encode(text, { ecc: "M", border: 4 });
  return (
    <svg role="img" aria-label={label} viewBox={`0 0 ${size} ${size}`} className="size-48 rounded-md">
      <path d={`M0 0h${size}v${size}H0z`} fill="#fff" />
      <path d={squares(data)} fill="#000" shapeRendering="crispEdges" />
    </svg>
  );
}
