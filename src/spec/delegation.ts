/** How an ordinary user is given cgroups. @see systemd.resource-control(5), Delegate=; systemd-run(1) */

/** For root, a line each. */
export const DELEGATE: readonly string[] = [
  'mkdir -p /etc/systemd/system/user@.service.d',
  "printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' > /etc/systemd/system/user@.service.d/delegate.conf",
  'systemctl daemon-reload',
];

/** For the user: a command below the manager of his services, whose cgroups are his. */
export const IN_USER_SCOPE = 'systemd-run --user --scope tsbox ...';
