/** The four tags that every taggable resource carries: cost allocation, incident routing and data handling hang on them. */
import type { IAspect } from 'cdktf';
import type { IConstruct } from 'constructs';
import type { Environment } from './environments.ts';

export type Tags = Readonly<Record<'app' | 'env' | 'cost-center' | 'data-class', string>>;

export const tagsOf = (environment: Environment): Tags => ({ app: 'ccc', env: environment.name, 'cost-center': environment.costCenter, 'data-class': 'restricted' });

/** Where a provider has no default tags (azurerm): sets them on each resource that has tags, its own winning. */
export class TagEverything implements IAspect {
  readonly #tags: Tags;

  constructor(tags: Tags) {
    this.#tags = tags;
  }

  visit(node: IConstruct): void {
    if (!isTaggable(node)) return;
    node.tags = { ...this.#tags, ...(node.tagsInput ?? {}) };
  }
}

interface Taggable { tags: Record<string, string>; readonly tagsInput?: Record<string, string> }

/** By shape: cdktf has no type for it, and a data source has `tags` but nothing to set them with. */
function isTaggable(node: unknown): node is Taggable {
  if (typeof node !== 'object' || node === null || !('terraformResourceType' in node) || !('tagsInput' in node)) return false;
  if (String((node as { fqn?: unknown }).fqn).startsWith('data.')) return false;
  // Tags of the directory are a list of words, not names and values.
  if (String(node.terraformResourceType).startsWith('azuread_')) return false;
  for (let proto: unknown = Object.getPrototypeOf(node); proto !== null; proto = Object.getPrototypeOf(proto)) {
    const property = Object.getOwnPropertyDescriptor(proto as object, 'tags');
    if (property !== undefined) return property.set !== undefined;
  }
  return false;
}
