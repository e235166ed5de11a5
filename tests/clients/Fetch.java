import java.io.FileInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.util.Locale;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/**
 * Fetch URL COUNT: asks URL by java.net.http, COUNT times, each time as for the first time. Prints `took MICROSECONDS` per
 * try, then what came of the last one: its text, or the error on stderr and an end with 1.
 */
public final class Fetch {
    /** Java reads no PEM bundle by itself; the suite's authority is in this one. */
    private static SSLContext trust(String bundle) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (FileInputStream file = new FileInputStream(bundle)) {
            int number = 0;
            for (Certificate one : CertificateFactory.getInstance("X.509").generateCertificates(file)) {
                store.setCertificateEntry("c" + number++, one);
            }
        }
        TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context;
    }

    public static void main(String[] arguments) throws Exception {
        Locale.setDefault(Locale.ROOT);
        SSLContext trust = trust(System.getenv("SSL_CERT_FILE"));
        HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0])).build();
        String text = null;
        Throwable error = null;
        for (int done = 0; done < Integer.parseInt(arguments[1]); done++) {
            HttpClient client = HttpClient.newBuilder().sslContext(trust).build();
            text = null;
            error = null;
            long begun = System.nanoTime();
            try {
                text = client.send(request, HttpResponse.BodyHandlers.ofString()).body();
            } catch (Exception raised) {
                error = raised;
            }
            System.out.println("took " + (System.nanoTime() - begun) / 1000);
        }
        if (error != null) {
            StringBuilder said = new StringBuilder();
            for (Throwable cause = error; cause != null; cause = cause.getCause()) {
                said.append(said.length() == 0 ? "" : ": ").append(cause);
            }
            System.err.println(said);
            System.exit(1);
        }
        System.out.print(text);
        System.exit(0);
    }
}
