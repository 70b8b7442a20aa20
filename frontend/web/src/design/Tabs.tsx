/** Sections of a page, one at a time; which one is for the page's address to remember. */

import { Tabs as Radix } from "radix-ui";
import type { ReactNode } from "react";
import { Icon, type IconName } from "./icons";

export interface Section {
  id: string;
  label: string;
  icon?: IconName;
  body: ReactNode;
}

interface TabsProps {
  label: string;
  sections: readonly Section[];
  open: string;
  onOpen: (id: string) => void;
}

const TAB =
  "-mb-px flex min-h-9 items-center gap-2 border-b-2 border-transparent px-2 text-sm font-medium whitespace-nowrap text-soft hover:text-ink " +
  "data-[state=active]:border-accent data-[state=active]:text-ink";

export function Tabs({ label, sections, open, onOpen }: TabsProps): ReactNode {
  return (
    <Radix.Root value={open} onValueChange={onOpen} activationMode="manual" className="min-w-0">
      <Radix.List aria-label={label} className="mb-4 flex flex-wrap gap-x-2 border-b border-line">
        {sections.map(({ id, label: text, icon }) => (
          <Radix.Trigger key={id} value={id} className={TAB}>
            {icon && <Icon name={icon} className="max-sm:hidden" />} {text}
          </Radix.Trigger>
        ))}
      </Radix.List>
      {sections.map(({ id, body }) => (
        <Radix.Content key={id} value={id} className="outline-offset-4">
          {body}
        </Radix.Content>
      ))}
    </Radix.Root>
  );
}
