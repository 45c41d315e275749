=head1 NAME

SpliceBERT - scores of splicebert-vep per allele and gene, as an Ensembl VEP plugin

=head1 SYNOPSIS

  splicebert-vep annotate in.vcf.gz -R GRCh38.fa --emit vep -O scored.vcf.gz    # or: saturate --emit vep
  cp SpliceBERT.pm ~/.vep/Plugins
  vep -i in.vcf.gz --cache --vcf --plugin SpliceBERT,file=scored.vcf.gz
  vep -i in.vcf.gz --cache --vcf --plugin SpliceBERT,file=scored.vcf.gz,fields=DS_MAX:EFFECT_TEXT:KL_SS

=head1 DESCRIPTION

The file is a VCF of 'annotate' or 'saturate' with --emit vep, bgzip-compressed and with its .tbi. An allele of VEP gets the
scores of the same change, however the two records pad it; both write an insertion or deletion of a repeat at the same
place, so normalise first (bcftools norm) where files come from different programs. Of the genes of an allele a transcript
gets those of its own: by gene id without version, else by transcript, else by symbol where the ids are not Ensembl's.

Fields are columns of the file's "Format: ALLELE|SYMBOL|...", separated by colons. The default is those of the delta
scores and of the effect that the file has, and STATUS, which says why there are no scores. DP_* count from POS of the
record in the scored file. The scores are not those of SpliceAI; name the model that the header of the file names.

The licence is that of splicebert-vep, BSD 3-Clause.

=cut

package SpliceBERT;

use strict;
use warnings;

use IO::Uncompress::Gunzip qw($GunzipError);

use Bio::EnsEMBL::Variation::Utils::BaseVepTabixPlugin;
use base qw(Bio::EnsEMBL::Variation::Utils::BaseVepTabixPlugin);

my $PREFIX = 'SpliceBERT_pred_';
my @DEFAULT = qw(
  DS_MAX DS_AG DS_AL DS_DG DS_DL POS_AG POS_AL POS_DG POS_DL LOSS_JUDGED EFFECT EFFECT_SIZE EFFECT_FRAME HGVSR EFFECT_TEXT STATUS
);

sub new {
  my $class = shift;
  my $self  = $class->SUPER::new(@_);

  $self->expand_left(0);
  $self->expand_right(0);

  my $params = $self->params_to_hash();
  my $file   = $params->{file} or die("ERROR: SpliceBERT needs file=scored.vcf.gz\n");
  $self->add_file($file);

  my ($text, @columns) = _format($file);
  my %known = map { s/\ADP_/POS_/r => 1 } @columns;
  my @asked = $params->{fields} ? split(/:/, $params->{fields}) : grep { $known{$_} } @DEFAULT;
  my @unknown = grep { !$known{$_} } @asked;
  die("ERROR: SpliceBERT cannot give @unknown of $file; it can give @{[ sort keys %known ]}\n") if @unknown;

  @$self{qw(columns fields about)} = (\@columns, \@asked, $text);
  return $self;
}

sub feature_types { return ['Transcript']; }

sub get_header_info {
  my $self = shift;
  return { map { $PREFIX . $_ => "$_ of splicebert-vep (docs/scores.md): $self->{about}" } @{ $self->{fields} } };
}

sub run {
  my ($self, $tva) = @_;

  my $vf = $tva->variation_feature;
  my ($start, $end) = sort { $a <=> $b } @$vf{qw(start end)};    # of an insertion the end comes before the start

  my ($ref) = split m{/}, $vf->{allele_string};
  my $alt = $tva->variation_feature_seq;
  ($ref, $alt) = map { uc($_ eq '-' ? '' : $_) } ($ref, $alt);
  ($ref, $alt) = map { _reverse_complement($_) } ($ref, $alt) if ($vf->{strand} || 1) < 0;
  return {} if "$ref$alt" =~ /[^A-Z]/;    # symbolic; letters other than A, C, G, T have a status

  my $first = $start > 1 ? $start - 1 : 1;    # VCF writes the base before an insertion or deletion
  foreach my $record (@{ $self->get_data($vf->{chr}, $first, $end) }) {
    foreach my $written (@{ $record->{alts} }) {
      next unless _same_change($vf->{start}, $ref, $alt, $record->{pos}, $record->{ref}, uc($written));
      my @rows = map { $self->_row($_, $record->{pos}) } @{ $record->{entries} };
      my $row = _of_transcript($tva->transcript, grep { $_->{ALLELE} eq $written } @rows);
      return {} unless $row;
      return { map { $PREFIX . $_ => $row->{$_} } grep { length($row->{$_} // '') } @{ $self->{fields} } };
    }
  }
  return {};
}

# Read a record of the scored file; undef where it has no entries.
sub parse_data {
  my ($self, $line) = @_;
  my (undef, $pos, undef, $ref, $alts, undef, undef, $info) = split /\t/, $line;
  my ($text) = $info =~ /(?:\A|;)SpliceBERT=([^;]*)/ or return;
  return { pos => $pos, ref => uc($ref), alts => [split /,/, $alts], entries => [split /,/, $text] };
}

sub get_start { return $_[1]->{pos}; }
sub get_end   { return $_[1]->{pos} + length($_[1]->{ref}) - 1; }

sub _row {
  my ($self, $entry, $pos) = @_;
  my %row;
  @row{ @{ $self->{columns} } } = split /\|/, $entry, -1;
  foreach my $event (qw(AG AL DG DL)) {
    my $offset = $row{"DP_$event"};
    $row{"POS_$event"} = $pos + $offset if defined($offset) && length($offset);
  }
  return \%row;
}

# Choose the row of a transcript's gene; rows without a gene (NO_GENE, REF_MISMATCH) are about the allele in any.
sub _of_transcript {
  my ($transcript, @rows) = @_;
  return $rows[0] if @rows == 1 && !length($rows[0]->{GENE});

  my $gene = _stable($transcript->{_gene_stable_id} || ($transcript->{_gene} ? $transcript->{_gene}->stable_id : ''));
  my ($found) = grep { length($gene) && _stable($_->{GENE}) eq $gene } @rows;
  return $found if $found;

  my $id = _stable($transcript->stable_id);
  ($found) = grep { length($id) && _stable($_->{TRANSCRIPT}) eq $id } @rows;
  return $found if $found;

  my $symbol = $transcript->{_gene_symbol} || $transcript->{_gene_hgnc} || '';
  return if $gene =~ /\AENS/ && grep { $_->{GENE} =~ /\AENS/ } @rows;    # ids of one kind that differ: another gene
  my @named = grep { length($symbol) && $_->{SYMBOL} eq $symbol } @rows;
  return @named == 1 ? $named[0] : undef;
}

sub _stable {
  my $id = shift // '';
  $id =~ s/\A((?:ENS|NM_|NR_|XM_|XR_)[A-Z]*\d+)\.\d+\z/$1/;
  return $id;
}

# Tell whether two alleles are one change of the reference: both are written out over the bases that either names.
sub _same_change {
  my ($start, $ref, $alt, $other_start, $other_ref, $other_alt) = @_;
  my ($end, $other_end) = ($start + length($ref), $other_start + length($other_ref));    # behind the last base
  return 0 if $other_alt =~ /[^A-Z]/ || length($alt) - length($ref) != length($other_alt) - length($other_ref);
  return 0 if $end < $other_start || $other_end < $start;                                # bases between are not known

  my $first = $start < $other_start ? $start : $other_start;
  my $last  = $end > $other_end     ? $end   : $other_end;
  my $bases = '.' x ($last - $first);
  substr($bases, $other_start - $first, length($other_ref)) = $other_ref;
  substr($bases, $start - $first,       length($ref))       = $ref;
  return 0 if substr($bases, $other_start - $first, length($other_ref)) ne $other_ref;   # another REF

  my $one   = substr($bases, 0, $start - $first) . $alt . substr($bases, $end - $first);
  my $other = substr($bases, 0, $other_start - $first) . $other_alt . substr($bases, $other_end - $first);
  return $one eq $other;
}

sub _reverse_complement {
  my $bases = reverse shift;
  $bases =~ tr/ACGT/TGCA/;
  return $bases;
}

# Return the description and the columns of the INFO key SpliceBERT.
sub _format {
  my $file = shift;
  my $in = IO::Uncompress::Gunzip->new($file, MultiStream => 1) or die("ERROR: $file cannot be read: $GunzipError\n");
  while (defined(my $line = $in->getline())) {
    last unless $line =~ /\A#/;
    next unless $line =~ /\A##INFO=<ID=SpliceBERT,.*Description="(.*?)\.? Format: ([^"]+)"/;
    return ($1, split /\|/, $2);
  }
  die("ERROR: $file has no INFO key SpliceBERT; write it with --emit vep\n");
}

1;
