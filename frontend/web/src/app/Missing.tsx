/** Nothing at this address, and nothing yet. */

import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { Empty, Loading } from "@/design/Layout";
import { useTitle } from "@/design/title";

export function Missing(): ReactNode {
  useTitle("Nothing here");
  return (
    <Empty
      icon="search"
      title="There is nothing at this address"
      about="It may have been mistyped, or what was here is gone."
    >
      <Link to="/offers">See the offers</Link>
      <Link to="/workloads">See your workloads</Link>
    </Empty>
  );
}

export function Waiting(): ReactNode {
  return <Loading lines={6} label="The page is on its way" />;
}
