/** Pages of a page: one is shown, the others are a key away. */

import { Tabs as Radix } from "radix-ui";
import type { ReactNode } from "react";
import { Icon, type IconName } from "./icons";

export interface Tab<Name extends string> {
  name: Name;
  label: string;
  icon?: IconName;
  /** How many there are. */
  count?: string;
}

interface TabsProps<Name extends string> {
  label: string;
  tabs: readonly Tab<Name>[];
  value: Name;
  onChange: (name: Name) => void;
  children: ReactNode;
}

export function Tabs<Name extends string>({ label, tabs, value, onChange, children }: TabsProps<Name>): ReactNode {
  return (
    <Radix.Root
      value={value}
      onValueChange={(name) => onChange(name as Name)}
      activationMode="manual"
      className="min-w-0"
    >
      <Radix.List aria-label={label} className="flex overflow-x-auto border-b border-line">
        {tabs.map((tab) => (
          <Radix.Trigger
            key={tab.name}
            value={tab.name}
            className="-mb-px min-h-9 border-b-2 border-transparent px-3 text-sm font-medium whitespace-nowrap text-soft -outline-offset-2 hover:text-ink data-[state=active]:border-accent data-[state=active]:text-accent-strong"
          >
            {tab.icon && <Icon name={tab.icon} className="mr-1.5 inline align-[-3px] max-sm:hidden" />}
            {tab.label}
            {tab.count && <span className="ml-1.5 text-xs font-normal text-soft tabular-nums">{tab.count}</span>}
          </Radix.Trigger>
        ))}
      </Radix.List>
      {children}
    </Radix.Root>
  );
}

export function TabPage({ name, children }: { name: string; children: ReactNode }): ReactNode {
  return (
    <Radix.Content value={name} className="min-w-0 pt-3 outline-offset-4">
      {children}
    </Radix.Content>
  );
}
