/** What an operator demands of Google's machines, beyond signatures. Absent members demand nothing, and then prove nothing. */

export interface GceTrust {
  /** Numbers of the projects that machines may be of, decimal. Where nothing proves a machine's project, it is refused. */
  readonly projects?: readonly string[];
  /** Instances that are refused whatever else holds, decimal ids: certificates of attestation keys live for thirty years and nobody lists them when an instance is lost. */
  readonly deniedInstances?: readonly string[];
  /** Of a TD whose evidence names its instance. Default: `allowZero`, since Google has begun to set MR_OWNER in 2026 only. `requireMatch` wants the name too. */
  readonly owner?: 'requireMatch' | 'allowZero' | 'ignore';
  /** `require`: Google's host registry must know the machine of a TD. Default: `ifAvailable`; without an entry it proves no origin. */
  readonly host?: 'require' | 'ifAvailable';
  /** Lowest security version and oldest time (epoch seconds) of Google's endorsement of the firmware. Stated: an endorsement is required; absent: none is looked at. */
  readonly endorsement?: { readonly svn: number; readonly timestamp: number };
}
