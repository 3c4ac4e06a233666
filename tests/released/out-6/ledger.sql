BEGIN TRANSACTION;
CREATE TABLE ctime (file INTEGER PRIMARY KEY, ctime_ns INTEGER NOT NULL);
INSERT INTO "ctime" VALUES(1,1795942723234763583);
INSERT INTO "ctime" VALUES(2,1795942723249055707);
INSERT INTO "ctime" VALUES(3,1795942723248243787);
INSERT INTO "ctime" VALUES(4,1795942723263144208);
INSERT INTO "ctime" VALUES(5,1795942723288794095);
INSERT INTO "ctime" VALUES(6,1795942723302026260);
CREATE TABLE file (
    id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    status INTEGER NOT NULL, reason TEXT, sha256 TEXT, window TEXT, header INTEGER, part TEXT,
    library INTEGER, digest BLOB);
INSERT INTO "file" VALUES(1,'pictures/study-0/slice-0000.jpg',750,1795942723234763583,1,NULL,'01de5d236779b577923bbc90ec3d3af8005b3f833a9407b53c94ead387855b7b','unverified',1,'pictures',1,X'F8C8346E8C6A0242DD9D2E9B4DAEB25C');
INSERT INTO "file" VALUES(2,'pictures/study-0/slice-0002.jpg',741,1795942723249055707,1,NULL,'225b06e6f465c4a5e571ced77a644638e9a00c8f04f82a422cb248f8e916a8e8','unverified',1,'pictures',1,X'C149C4A8A4B420E9CCD365ACF47372E6');
INSERT INTO "file" VALUES(3,'pictures/study-1/slice-0001.png',1201,1795942723248243787,1,NULL,'3a263ac547dd338e1020734bd84fe719bc0ead990b44c681c7acf0e4f735da9c','unverified',2,'pictures',1,X'092359D432537D49DADEB104EAC565A6');
INSERT INTO "file" VALUES(4,'series/ct/IM003',34010,1795942723263144208,1,NULL,'5922e4ef623fd5f78c2d27600a0c83e3d6d86c92671fdf2bd1db0257baf060eb','-40…160 HU',3,'series',1,X'D86ED243DEBED0D4DD19A13D06ECE6AB');
INSERT INTO "file" VALUES(5,'series/ct/IM008',34010,1795942723288794095,1,NULL,'6c417b33990894b9de4c016ef4bdfc72cfa8829b5e052150a514541ccc3a83ab','-40…160 HU',3,'series',1,X'0F4484069CF8476E16D161799B55F99B');
INSERT INTO "file" VALUES(6,'series/ct/IM013',34010,1795942723302026260,1,NULL,'6549fc97e992e1e82889468155280290803dbd4a4011c9cc15361442128fbe43','-40…160 HU',3,'series',1,X'3611A81C9877DC323501609923499CE5');
CREATE TABLE header (
    id INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT NOT NULL, study TEXT NOT NULL, patient TEXT NOT NULL,
    info TEXT NOT NULL, digest BLOB NOT NULL UNIQUE);
INSERT INTO "header" VALUES(1,'be2c1b88dcc0','da3c63dcf408','','{"geometry":{"columns":0,"directions":null,"rows":0,"spacing_mm":null,"turn":""},"kind":"picture","modality":null,"orientation":"unknown"}',X'9C87E573746A32136C44571864EE706B');
INSERT INTO "header" VALUES(2,'406c11366586','8bb06dff0fdc','','{"geometry":{"columns":0,"directions":null,"rows":0,"spacing_mm":null,"turn":""},"kind":"picture","modality":null,"orientation":"unknown"}',X'B35F75756F7B8CD593E43E0A4843CE45');
INSERT INTO "header" VALUES(3,'bc838a14f2a1','08dc52dd019e','a2c7a9146046','{"geometry":{"columns":128,"directions":[1.0,0.0,0.0,0.0,1.0,0.0],"rows":128,"spacing_mm":[2.0,2.0],"turn":""},"kind":"dicom","modality":"CT","orientation":"axial"}',X'E14A5BF56DE058956FB5756695C5F648');
CREATE TABLE library (id INTEGER PRIMARY KEY AUTOINCREMENT, versions TEXT NOT NULL UNIQUE);
INSERT INTO "library" VALUES(1,'{"lits-deploy":"0.1.0","nibabel":"5.4.2","numpy":"2.4.6","onnxruntime":"1.32.0","pillow":"13.0.0","pyarrow":"26.0.1","pydicom":"3.0.2","pylibjpeg":"2.1.0","pylibjpeg-openjpeg":"2.6.0","python":"3.11.7","python-gdcm":"3.2.6"}');
CREATE TABLE look (file INTEGER NOT NULL, idx INTEGER NOT NULL, numbers BLOB NOT NULL, PRIMARY KEY (file, idx))
    WITHOUT ROWID;
INSERT INTO "look" VALUES(3,0,X'DC038D003C008700CD00ED050600220122014A00');
INSERT INTO "look" VALUES(6,0,X'500104001E005700CE0016043D009A00D300E5009501CBFF160077000C00DE00');
CREATE TABLE mask (file INTEGER NOT NULL, idx INTEGER NOT NULL, labels BLOB NOT NULL, PRIMARY KEY (file, idx));
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, digest BLOB NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('about','{"abstain_below":0.5,"artifact":{"name":"fp32","sha256":"d6d9004488fd56e78e4fe4635a6d5bf09119ed12b1be9e8434ae10837904fac8","warning":null},"bundle":"6d6e696bbe1829b9712a378ca5462e8198a4f770cb5c6b7362c67f0c10db1d8e","calibrated_on":null,"contract":{"channels":1,"classes":["no liver","liver","liver with lesion"],"crop":56,"mean":0.0,"orientation":"anterior up, patient''s right on the left","resize":"box","scale":0.00392156862745098,"sha256":"c69d2e29da083148bd401367aa7be99500b50402c29f32defe81cb4e503150d2","size":64,"std":1.0,"window_hu":[-40.0,160.0]},"lits_deploy":"0.1.0","model":{"name":"tiny","parameters":9},"runtime":{"device":"cpu","name":"onnxruntime","precision":"fp32","providers":["CPUExecutionProvider"],"version":"1.32.0"},"task":"classify","temperature":1.5,"test":null}',X'8F161ED3C8BB3666EEDC55A177F5A0AB');
INSERT INTO "meta" VALUES('base','390',X'7B1DA2F29791DE95B68EAB477F76322D');
INSERT INTO "meta" VALUES('identity','{"abstain_below":0.5,"artifact":"fp32","bundle":"6d6e696bbe1829b9712a378ca5462e8198a4f770cb5c6b7362c67f0c10db1d8e","contract":"c69d2e29da083148bd401367aa7be99500b50402c29f32defe81cb4e503150d2","device":"cpu","precision":"fp32","runtime":"onnxruntime"}',X'2BFFEEEF99705BA98F74B0EF9282687F');
INSERT INTO "meta" VALUES('ignored','{"paths":[],"patterns":[]}',X'71AC6F76B90CD0CD3BA0ADDAC1345253');
INSERT INTO "meta" VALUES('names','ed1a28',X'77440CC58C2731C7E0F538FC564C1527');
INSERT INTO "meta" VALUES('ran','{"first":"2026-11-29 08:58 UTC","last":"2026-11-29 08:58 UTC","machine":"AMD EPYC, 2 cores","scans":[]}',X'50B75DEFD6E0434C740E4DA31DDC9F9B');
INSERT INTO "meta" VALUES('run','{"classes":["no liver","liver","liver with lesion"],"provenance":{"artifact":"fp32","bundle":"6d6e696bbe18","contract":"c69d2e29da08","model":"tiny","precision":"fp32","run_id":"e8b33fc37f51da9b","runtime":"onnxruntime"}}',X'6BA26AD7E5FF7F0006926CAFBA083E5E');
INSERT INTO "meta" VALUES('run_id','e8b33fc37f51da9b',X'6F1A1D72709548C9AF6E613639D1176D');
INSERT INTO "meta" VALUES('seen','{"empty":0,"mounts":[],"unlisted":0}',X'F72C2952E3606A49ECFB70ABEC873C1F');
CREATE TABLE picture (
    file INTEGER NOT NULL, idx INTEGER NOT NULL, jpeg BLOB NOT NULL, side INTEGER NOT NULL, contours TEXT NOT NULL,
    digest BLOB NOT NULL, PRIMARY KEY (file, idx));
CREATE TABLE slice (
    file INTEGER NOT NULL, idx INTEGER NOT NULL, status INTEGER NOT NULL, reason TEXT,
    label INTEGER, p0 REAL, p1 REAL, p2 REAL, facts TEXT NOT NULL, pixels INTEGER,
    PRIMARY KEY (file, idx)) WITHOUT ROWID;
INSERT INTO "slice" VALUES(1,0,1,NULL,2,6.76024938002228736877e-03,3.79598110914230346679e-01,0.613641619682312,'{"number":0}',2740451191506867666);
INSERT INTO "slice" VALUES(2,0,1,NULL,1,4.03412096202373504638e-02,6.10895335674285888671e-01,3.48763436079025268554e-01,'{"number":2}',-6723061758502103404);
INSERT INTO "slice" VALUES(3,0,1,NULL,2,4.49093850329518318176e-03,2.54581123590469360351e-01,7.40927934646606445312e-01,'{"number":1}',-7990634645869152006);
INSERT INTO "slice" VALUES(4,0,3,'unsure: no class reaches 0.500',NULL,4.91447597742080688476e-01,3.29901367425918579101e-01,1.78651049733161926269e-01,'{"instance":"3bb14423a9cb","labels":{"image type":"33d30fc06464"},"number":3,"position":3.0}',6729331462624678161);
INSERT INTO "slice" VALUES(5,0,3,'unsure: no class reaches 0.500',NULL,4.84795928001403808593e-01,3.32997649908065795898e-01,1.82206422090530395507e-01,'{"instance":"907c7ba41b03","labels":{"image type":"33d30fc06464"},"number":2,"position":5.0}',-4639028759535426715);
INSERT INTO "slice" VALUES(6,0,3,'unsure: no class reaches 0.500',NULL,4.78462249040603637695e-01,3.35771203041076660156e-01,1.85766547918319702148e-01,'{"instance":"30e9660d5ef2","labels":{"image type":"33d30fc06464"},"number":1,"position":7.0}',4893295569319615053);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('file',6);
INSERT INTO "sqlite_sequence" VALUES('library',1);
INSERT INTO "sqlite_sequence" VALUES('header',3);
COMMIT;
PRAGMA user_version = 6;
