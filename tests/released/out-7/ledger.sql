BEGIN TRANSACTION;
CREATE TABLE ctime (file INTEGER PRIMARY KEY, ctime_ns INTEGER NOT NULL);
INSERT INTO "ctime" VALUES(1,1795960978959064615);
INSERT INTO "ctime" VALUES(2,1795960978964350868);
INSERT INTO "ctime" VALUES(3,1795960978959697520);
INSERT INTO "ctime" VALUES(4,1795960978968376418);
INSERT INTO "ctime" VALUES(5,1795960978975392223);
INSERT INTO "ctime" VALUES(6,1795960978981864627);
CREATE TABLE file (
    id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    status INTEGER NOT NULL, reason TEXT, sha256 TEXT, window TEXT, header INTEGER, part TEXT,
    library INTEGER, digest BLOB);
INSERT INTO "file" VALUES(1,'pictures/study-0/slice-0000.jpg',750,1795960978959064615,1,NULL,'01de5d236779b577923bbc90ec3d3af8005b3f833a9407b53c94ead387855b7b','unverified',1,'pictures',1,X'ACFD8646EA53BA7F1CD7A8ABB61E116F');
INSERT INTO "file" VALUES(2,'pictures/study-0/slice-0002.jpg',741,1795960978964350868,1,NULL,'225b06e6f465c4a5e571ced77a644638e9a00c8f04f82a422cb248f8e916a8e8','unverified',1,'pictures',1,X'DAA450DAFEC3EAD6B5D6AA868704AE0F');
INSERT INTO "file" VALUES(3,'pictures/study-1/slice-0001.png',1201,1795960978959697520,1,NULL,'3a263ac547dd338e1020734bd84fe719bc0ead990b44c681c7acf0e4f735da9c','unverified',2,'pictures',1,X'BEA7F3969202303266C5A1937863A112');
INSERT INTO "file" VALUES(4,'series/ct/IM003',34010,1795960978968376418,1,NULL,'5922e4ef623fd5f78c2d27600a0c83e3d6d86c92671fdf2bd1db0257baf060eb','-40…160 HU',3,'series',1,X'32A7019F647B067148B95CFDB00269F1');
INSERT INTO "file" VALUES(5,'series/ct/IM008',34010,1795960978975392223,1,NULL,'6c417b33990894b9de4c016ef4bdfc72cfa8829b5e052150a514541ccc3a83ab','-40…160 HU',3,'series',1,X'4C7DD55648755F788ADE83A24B0DFCF1');
INSERT INTO "file" VALUES(6,'series/ct/IM013',34010,1795960978981864627,1,NULL,'6549fc97e992e1e82889468155280290803dbd4a4011c9cc15361442128fbe43','-40…160 HU',3,'series',1,X'F4B5B0B1DF80F8EC2FF450DE37AD9A80');
CREATE TABLE header (
    id INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT NOT NULL, study TEXT NOT NULL, patient TEXT NOT NULL,
    info TEXT NOT NULL, digest BLOB NOT NULL UNIQUE);
INSERT INTO "header" VALUES(1,'589b36bbee46','545f309711c5','','{"geometry":{"columns":0,"directions":null,"rows":0,"spacing_mm":null,"turn":""},"kind":"picture","modality":null,"orientation":"unknown"}',X'4E213F611363198DF1888F8E9170D25E');
INSERT INTO "header" VALUES(2,'a265696f0c0a','34183769d914','','{"geometry":{"columns":0,"directions":null,"rows":0,"spacing_mm":null,"turn":""},"kind":"picture","modality":null,"orientation":"unknown"}',X'5A699FA0FEC49D495C4D35B57F74BAE7');
INSERT INTO "header" VALUES(3,'5c258cd04902','ed2bc661c3dd','4b24b337e287','{"geometry":{"columns":128,"directions":[1.0,0.0,0.0,0.0,1.0,0.0],"rows":128,"spacing_mm":[2.0,2.0],"turn":""},"kind":"dicom","modality":"CT","orientation":"axial","technique":{"thickness_mm":2.0}}',X'97A31D72338B8DA8543F3E291FA9BB6C');
CREATE TABLE library (id INTEGER PRIMARY KEY AUTOINCREMENT, versions TEXT NOT NULL UNIQUE);
INSERT INTO "library" VALUES(1,'{"lits-deploy":"0.1.0","nibabel":"5.4.2","numpy":"2.4.6","openvino":"2026.4.1","pillow":"13.0.0","pyarrow":"26.0.1","pydicom":"3.0.2","pylibjpeg":"2.1.0","pylibjpeg-openjpeg":"2.6.0","python":"3.11.7","python-gdcm":"3.2.6"}');
CREATE TABLE look (file INTEGER NOT NULL, idx INTEGER NOT NULL, numbers BLOB NOT NULL, PRIMARY KEY (file, idx))
    WITHOUT ROWID;
INSERT INTO "look" VALUES(3,0,X'DC038D003C008700CD00ED050600220122014A00');
INSERT INTO "look" VALUES(6,0,X'500104001E005700CE0016043D009A00D300E5009501CBFF160077000C00DE00');
CREATE TABLE mask (file INTEGER NOT NULL, idx INTEGER NOT NULL, labels BLOB NOT NULL, PRIMARY KEY (file, idx));
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, digest BLOB NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('about','{"abstain_below":0.5,"artifact":{"name":"fp32","sha256":"d6d9004488fd56e78e4fe4635a6d5bf09119ed12b1be9e8434ae10837904fac8","warning":null},"bundle":"6d6e696bbe1829b9712a378ca5462e8198a4f770cb5c6b7362c67f0c10db1d8e","calibrated_on":null,"contract":{"channels":1,"classes":["no liver","liver","liver with lesion"],"crop":56,"mean":0.0,"orientation":"anterior up, patient''s right on the left","resize":"box","scale":0.00392156862745098,"sha256":"c69d2e29da083148bd401367aa7be99500b50402c29f32defe81cb4e503150d2","size":64,"std":1.0,"window_hu":[-40.0,160.0]},"decided":{"by_patient":null,"promised":null,"rule":"argmax","sensitivity":null,"specificity":null,"threshold":null},"lits_deploy":"0.1.0","model":{"name":"tiny","parameters":9},"procedure":null,"reference":null,"runtime":{"device":"cpu","name":"openvino","precision":"fp32","providers":["CPU"],"version":"2026.4.1"},"task":"classify","temperature":1.5,"test":null}',X'7AD60F87026AB4B34338B3F219406AF2');
INSERT INTO "meta" VALUES('base','4d6',X'C660D9B158D8BBCCA4BF77BDB9C79449');
INSERT INTO "meta" VALUES('identity','{"abstain_below":0.5,"artifact":"fp32","bundle":"6d6e696bbe1829b9712a378ca5462e8198a4f770cb5c6b7362c67f0c10db1d8e","contract":"c69d2e29da083148bd401367aa7be99500b50402c29f32defe81cb4e503150d2","device":"cpu","precision":"fp32","runtime":"openvino"}',X'C81F400C7072F4D9CCA57D49B66B9224');
INSERT INTO "meta" VALUES('ignored','{"paths":[],"patterns":[]}',X'71AC6F76B90CD0CD3BA0ADDAC1345253');
INSERT INTO "meta" VALUES('names','a817eb',X'8E1B538CBE224FE3C2A226CA413598A0');
INSERT INTO "meta" VALUES('ran','{"first":"2026-11-29 14:02 UTC","last":"2026-11-29 14:02 UTC","machine":"AMD EPYC, 2 cores","scans":[]}',X'BEF913DA995BC8B98BE3853F04864F96');
INSERT INTO "meta" VALUES('run','{"classes":["no liver","liver","liver with lesion"],"provenance":{"artifact":"fp32","bundle":"6d6e696bbe18","contract":"c69d2e29da08","model":"tiny","precision":"fp32","run_id":"ab8ae38b0c0453eb","runtime":"openvino"}}',X'FE9A740A6E6672163B8364E0A3960471');
INSERT INTO "meta" VALUES('run_id','ab8ae38b0c0453eb',X'C2E988FFF550C8D705D3977D0429835F');
INSERT INTO "meta" VALUES('seen','{"empty":0,"mounts":[],"unlisted":0}',X'F72C2952E3606A49ECFB70ABEC873C1F');
CREATE TABLE picture (
    file INTEGER NOT NULL, idx INTEGER NOT NULL, jpeg BLOB NOT NULL, side INTEGER NOT NULL, contours TEXT NOT NULL,
    digest BLOB NOT NULL, PRIMARY KEY (file, idx));
CREATE TABLE second (file INTEGER NOT NULL, idx INTEGER NOT NULL, liver INTEGER, tumour INTEGER,
    log_odds REAL NOT NULL, PRIMARY KEY (file, idx)) WITHOUT ROWID;
CREATE TABLE slice (
    file INTEGER NOT NULL, idx INTEGER NOT NULL, status INTEGER NOT NULL, reason TEXT,
    label INTEGER, p0 REAL, p1 REAL, p2 REAL, facts TEXT NOT NULL, pixels INTEGER,
    PRIMARY KEY (file, idx)) WITHOUT ROWID;
INSERT INTO "slice" VALUES(1,0,1,NULL,2,6.76026428118348121643e-03,3.79598110914230346679e-01,0.613641619682312,'{"number":0}',2740451191506867666);
INSERT INTO "slice" VALUES(2,0,1,NULL,1,4.03411276638507843017e-02,6.10895395278930664062e-01,3.4876346588134765625e-01,'{"number":2}',-6723061758502103404);
INSERT INTO "slice" VALUES(3,0,1,NULL,2,4.49095945805311203002e-03,2.54581242799758911132e-01,7.40927815437316894531e-01,'{"number":1}',-7990634645869152006);
INSERT INTO "slice" VALUES(4,0,3,'unsure: no class reaches 0.500',NULL,4.9144744873046875e-01,3.29901486635208129882e-01,1.78651064634323120117e-01,'{"instance":"b9376c16cc97","labels":{"image type":"ba920faff3b4"},"number":3,"position":3.0}',6729331462624678161);
INSERT INTO "slice" VALUES(5,0,3,'unsure: no class reaches 0.500',NULL,4.84795749187469482421e-01,3.32997769117355346679e-01,1.82206481695175170898e-01,'{"instance":"d228b09b8dae","labels":{"image type":"ba920faff3b4"},"number":2,"position":5.0}',-4639028759535426715);
INSERT INTO "slice" VALUES(6,0,3,'unsure: no class reaches 0.500',NULL,4.78462129831314086914e-01,3.35771292448043823242e-01,1.85766577720642089843e-01,'{"instance":"c24bda24c71a","labels":{"image type":"ba920faff3b4"},"number":1,"position":7.0}',4893295569319615053);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('file',6);
INSERT INTO "sqlite_sequence" VALUES('library',1);
INSERT INTO "sqlite_sequence" VALUES('header',3);
COMMIT;
PRAGMA user_version = 7;
