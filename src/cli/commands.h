/* The functions behind commands.def: 0, a negative KIST_E…, or the exit status of a failure that
 * was reported already. */
#ifndef KIST_CLI_COMMANDS_H
#define KIST_CLI_COMMANDS_H

struct session;

int init_run(struct session *s);
int records_get(struct session *s);
int records_put(struct session *s);
int records_del(struct session *s);
int records_incr(struct session *s);
int list_run(struct session *s);
int edit_run(struct session *s);
int batch_txn(struct session *s);
int batch_export(struct session *s);
int batch_import(struct session *s);
int buckets_run(struct session *s);
int care_stat(struct session *s);
int care_verify(struct session *s);
int care_compact(struct session *s);
int care_rotate(struct session *s);
int backups_make(struct session *s);
int backups_restore(struct session *s);
int slots_run(struct session *s);
int slots_passwd(struct session *s);

#endif
