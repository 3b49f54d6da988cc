//! A directory of this machine as a disk, with blocking calls: for tests with several threads.
//!
//! Always true:
//! - what it does is done before the future is first pending.
//!
//! Never here: faults.

use crate::{Clock, Disk, Listed};
use bytes::Bytes;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[derive(Clone)]
pub(super) struct PlainDisk;

impl Clock for PlainDisk {
    fn now(&self) -> Duration {
        SystemTime::UNIX_EPOCH.elapsed().unwrap()
    }

    async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }
}

impl Disk for PlainDisk {
    type File = File;
    type Lock = File;

    async fn create(&self, path: &Path) -> io::Result<Arc<File>> {
        tokio::task::yield_now().await;
        let mut options = File::options();
        options.read(true).write(true).create_new(true).open(path).map(Arc::new)
    }

    async fn create_unnamed(&self, directory: &Path) -> io::Result<Arc<File>> {
        // The name of an address that nobody else has now.
        let own = Box::new(0_u8);
        let path = directory.join(format!("{:p}.tmp", &raw const *own));
        let file = self.create(&path).await?;
        fs::remove_file(path)?;
        Ok(file)
    }

    async fn open(&self, path: &Path) -> io::Result<(Arc<File>, u64)> {
        tokio::task::yield_now().await;
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok((Arc::new(file), length))
    }

    async fn write(&self, file: &Arc<File>, offset: u64, data: Bytes) -> io::Result<()> {
        tokio::task::yield_now().await;
        file.write_all_at(&data, offset)
    }

    async fn read(&self, file: &Arc<File>, offset: u64, length: usize) -> io::Result<Bytes> {
        tokio::task::yield_now().await;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes.into())
    }

    fn is_sound(&self, _: &File) -> bool {
        true
    }

    fn linked_bytes(&self, file: &File) -> Option<u64> {
        let metadata = file.metadata().ok().filter(|metadata| metadata.nlink() > 0)?;
        Some(metadata.len())
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        tokio::task::yield_now().await;
        fs::remove_file(path)
    }

    async fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    async fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    async fn list(&self, directory: &Path) -> io::Result<Vec<Listed>> {
        let listed = fs::read_dir(directory)?.map(|entry| {
            let entry = entry?;
            let is_directory = entry.file_type()?.is_dir();
            Ok(Listed { name: entry.file_name(), is_directory })
        });
        listed.collect()
    }

    async fn lock(&self, path: &Path) -> io::Result<Option<File>> {
        let file = File::options().write(true).create(true).truncate(false).open(path)?;
        Ok(file.try_lock().is_ok().then_some(file))
    }

    async fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}
