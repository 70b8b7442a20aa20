/** One of a few: all can be seen, one is pressed. */

import { ToggleGroup } from "radix-ui";
import type { ReactNode } from "react";

interface SegmentedProps<Value extends string> {
  label: string;
  options: readonly (readonly [Value, string])[];
  value: Value;
  onChange: (value: Value) => void;
}

export function Segmented<Value extends string>({ label, options, value, onChange }: SegmentedProps<Value>): ReactNode {
  return (
    <ToggleGroup.Root
      type="single"
      aria-label={label}
      value={value}
      onValueChange={(chosen) => chosen && onChange(chosen as Value)}
      className="inline-flex h-7 items-center rounded-md border border-line bg-sunk p-0.5"
    >
      {options.map(([name, text]) => (
        <ToggleGroup.Item
          key={name}
          value={name}
          className="h-6 rounded-sm px-2 text-xs font-medium whitespace-nowrap text-soft hover:text-ink data-[state=on]:bg-card data-[state=on]:text-ink data-[state=on]:shadow-xs"
        >
          {text}
        </ToggleGroup.Item>
      ))}
    </ToggleGroup.Root>
  );
}
