/** A few things more, where they were asked for. */

import type { ReactNode } from "react";
import { later, Pressable } from "./later";
import type { PopProps } from "./Popup";

const { Drawn, fetch } = later<PopProps>(() => import("./Popup"));

export function Pop(props: PopProps): ReactNode {
  return (
    <Pressable trigger={props.trigger} popup="dialog" fetch={fetch}>
      {() => <Drawn {...props} />}
    </Pressable>
  );
}
